"""Units set to zero, and units removed, on copies that share all other tensors with the model."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autocompress.graph.removal import Choice, removal
from autocompress.graph.surgery import remove
from autocompress.graph.tracing import Inputs, named_tensors, shared_copy
from autocompress.graph.verification import difference, float64_outputs, tolerance_for

NOT_ZEROED = ("consumer", "norm_statistic")


def zero_chosen(model: nn.Module, choices: Sequence[Choice]) -> None:
    """Set the chosen units to zero, in place."""
    tensors = named_tensors(model)
    with torch.no_grad():
        for choice in choices:
            for member in choice.group.members:
                if member.role not in NOT_ZEROED:
                    tensor = tensors[member.tensor]
                    rows = member.indices[choice.removed].flatten().to(tensor.device)
                    tensor.index_fill_(member.dim, rows, 0.0)


def masked(model: nn.Module, choices: Sequence[Choice]) -> nn.Module:
    """Return a copy in eval mode in which the chosen units are zero."""
    touched = {m.tensor for c in choices for m in c.group.members if m.role not in NOT_ZEROED}
    memo = {id(t): _cloned(t) if n in touched else t for n, t in named_tensors(model).items()}
    copied = copy.deepcopy(model, memo=memo).eval()
    zero_chosen(copied, choices)
    return copied


def _cloned(tensor: Tensor) -> Tensor:
    clone = tensor.detach().clone()
    return nn.Parameter(clone, requires_grad=False) if isinstance(tensor, nn.Parameter) else clone


def copy_without(model: nn.Module, choices: Sequence[Choice]) -> nn.Module:
    """Return an independent copy without the chosen units, in the model's own mode.

    Raises:
        UsageError: the units cannot be removed.
    """
    step = removal(model, choices)
    shared = {id(t): t for t in named_tensors(model).values()}
    smaller = copy.deepcopy(model, memo=dict(shared))
    if step.indices:
        remove(smaller, step)
    own: dict[int, Tensor] = {}
    for module in smaller.modules():
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is not None and id(tensor) in shared:
                    own.setdefault(id(tensor), copy.deepcopy(tensor))
                    table[key] = own[id(tensor)]  # type: ignore[assignment]
    return smaller


def why_not_equal(
    model: nn.Module, inputs: Inputs, choices: Sequence[Choice], floor: float
) -> str | None:
    """Compare the outputs of a model with units zero and without them; None if they are equal.

    Args:
        model: the model.
        inputs: a batch, or a tuple of all positional arguments.
        choices: the units.
        floor: tolerance in standard deviations of the outputs, see ``tolerance_for``.

    Raises:
        UsageError: the units cannot be removed.
        VerificationError: the model cannot be run without them.
    """
    expected = float64_outputs(masked(model, choices), inputs)
    smaller = shared_copy(model)
    remove(smaller, removal(model, choices))
    found = difference(expected, float64_outputs(smaller, inputs))
    del smaller  # never two copies of a large model at a time
    if found <= floor:
        return None
    if found <= tolerance_for(masked(model, choices), inputs, expected, floor):
        return None
    return f"outputs without them differ by {found:.3g} standard deviations"
