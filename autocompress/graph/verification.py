"""Do two models give equal outputs? Computed in float64, whatever the models' own precision."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from autocompress.errors import VerificationError
from autocompress.graph.tracing import Inputs, as_arguments, shared_copy

NOISE_MARGIN = 1000.0
LARGEST_TOLERANCE = 1e-3
LOW_PRECISION = (torch.float32, torch.float16, torch.bfloat16)


class _CallsInFloat64(TorchFunctionMode):
    """Convert the arguments of every call of a PyTorch function to float64."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function on float64 tensors; properties such as ``shape`` are left alone."""
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **(kwargs or {}))
        wide_args, wide_kwargs = tree_map(_widened, (args, kwargs or {}))
        return func(*wide_args, **wide_kwargs)


class _OperationsInFloat64(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Convert whatever the operations inside those functions still read or make."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one ATen operation on float64 tensors."""
        wide_args, wide_kwargs = tree_map(_widened, (args, kwargs or {}))
        return tree_map(_widened, func(*wide_args, **wide_kwargs))


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in LOW_PRECISION:
        return value.to(torch.float64)
    if isinstance(value, torch.dtype) and value in LOW_PRECISION:
        return torch.float64
    return value


def float64_outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Return all output tensors of a model in eval mode, computed in float64.

    A tensor of lower precision is converted where an operation reads it: a large model is verified
    in little more than its own memory.

    Raises:
        VerificationError: the model cannot be run on these inputs; its own error is chained.
    """
    copied = shared_copy(model)
    try:
        with torch.no_grad(), _CallsInFloat64(), _OperationsInFloat64():  # type: ignore[no-untyped-call]
            output = copied(*as_arguments(inputs))
    except Exception as error:
        raise VerificationError(
            f"{type(model).__name__} cannot be run: {type(error).__name__}: {error}"
        ) from error
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def difference(before: list[Tensor], after: list[Tensor]) -> float:
    """Return the largest ``|a - b| / std(a)`` over pairs of outputs; infinite if they can't match.

    The standard deviation is that of one output tensor over all its elements; where it is 0 the
    difference counts as it is. Shapes that differ and values that are not finite are infinite.
    """
    if [t.shape for t in before] != [t.shape for t in after]:
        return math.inf
    return max(
        (_difference(a.double(), b.double()) for a, b in zip(before, after, strict=True)),
        default=0.0,
    )


def _difference(a: Tensor, b: Tensor) -> float:
    if a.numel() == 0 or torch.equal(a, b):
        return 0.0
    if not bool(a.isfinite().all() and b.isfinite().all()):
        return math.inf
    spread = float(a.std(correction=0))
    return float((a - b).abs().max()) / (spread or 1.0)


def tolerance_for(model: nn.Module, inputs: Inputs, outputs: list[Tensor], floor: float) -> float:
    """Return how far outputs may differ and still count as equal up to rounding.

    The floor, unless the model itself amplifies rounding errors more than that: inputs that differ
    by 4 units in the last place of float64 must not look like another model.

    Args:
        model: the model.
        inputs: a batch, or a tuple of all positional arguments.
        outputs: what :func:`float64_outputs` gives for them.
        floor: the tolerance of a well-conditioned model, in standard deviations.
    """
    noise = _noise(model, inputs, outputs)
    return min(max(floor, NOISE_MARGIN * noise), LARGEST_TOLERANCE)


def why_ill_conditioned(model: nn.Module, inputs: Inputs) -> str | None:
    """Say that no comparison of outputs can tell whether another model is equal, if none can.

    That is so where inputs that differ by 4 units in the last place of float64 lead to outputs
    that differ by more than the largest tolerance.
    """
    noise = _noise(model, inputs, float64_outputs(model, inputs))
    if noise <= LARGEST_TOLERANCE:
        return None
    return (
        f"cannot be verified: the model turns rounding errors of its inputs into {noise:.2g} "
        "standard deviations of its outputs"
    )


def _noise(model: nn.Module, inputs: Inputs, outputs: list[Tensor]) -> float:
    moved = float64_outputs(model, tuple(_moved(value) for value in as_arguments(inputs)))
    return difference(outputs, moved)


def _moved(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    signs = 1.0 - 2.0 * (torch.arange(value.numel(), device=value.device) % 2)
    return value.double() * (1.0 + 2.0**-50 * signs.double().view(value.shape))


def largest_difference(before: nn.Module, after: nn.Module, inputs: Inputs) -> float:
    """Compare two models' outputs in eval mode and float64.

    Args:
        before: the reference.
        after: the model that should do the same.
        inputs: a batch, or a tuple of all positional arguments.

    Returns:
        The largest ``|a - b| / std(a)`` over all outputs; 0 if equal, infinite if they have
        different shapes or are not finite.
    """
    return difference(float64_outputs(before, inputs), float64_outputs(after, inputs))


def check_equal(
    before: nn.Module,
    after: nn.Module,
    inputs: Inputs,
    *,
    stage: str,
    tolerance: float = 1e-6,
) -> float:
    """Return the largest difference of two models, or raise where it is above the tolerance.

    Raises:
        VerificationError: names the stage, the difference and the tolerance.
    """
    found = largest_difference(before, after, inputs)
    if not found <= tolerance:
        raise VerificationError(
            f"{stage}: outputs before and after differ by {found:.3g} standard deviations; "
            f"allowed: {tolerance:.3g}"
        )
    return found
