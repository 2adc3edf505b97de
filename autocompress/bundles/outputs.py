"""Outputs of any structure, as named tensors: stored, compared, and put together again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten_with_path, tree_unflatten

from autocompress.errors import UsageError

OUTPUTS = "outputs"


def named(outputs: Any) -> dict[str, Tensor]:
    """Return the tensors of a model's outputs by name, in order.

    One tensor is called ``outputs``; the tensors of a tuple ``outputs.0``, ``outputs.1``; those of
    a dictionary ``outputs.KEY``.

    Raises:
        UsageError: there is something else than tensors.

    Example:
        >>> list(named({"out": torch.zeros(1), "aux": (torch.zeros(1),)}))
        ['outputs.out', 'outputs.aux.0']
    """
    found, _ = tree_flatten_with_path(outputs)
    tensors = {"".join([OUTPUTS, *(_step(step) for step in path)]): leaf for path, leaf in found}
    others = {name: leaf for name, leaf in tensors.items() if not isinstance(leaf, Tensor)}
    if others or not tensors:
        named = ", ".join(f"{name}: {type(leaf).__name__}" for name, leaf in others.items())
        raise UsageError(f"expected a model that returns tensors, not {named or 'nothing'}")
    return tensors


def plain(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor of the base class on the CPU, with memory of its own."""
    return tensor.detach().as_subclass(Tensor).cpu().contiguous().clone()


@dataclass(frozen=True)
class Structure:
    """How named tensors make the outputs of one model.

    Attributes:
        names: of its tensors, in order.
        spec: of what holds them.
    """

    names: tuple[str, ...]
    spec: TreeSpec

    @classmethod
    def of(cls, outputs: Any) -> "Structure":
        """Return the structure of a model's outputs."""
        _, spec = tree_flatten_with_path(outputs)
        return cls(tuple(named(outputs)), spec)

    def restored(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return outputs as the model returns them."""
        return tree_unflatten([tensors[name] for name in self.names], self.spec)


def one_or_tuple(outputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """Return what a runtime lists as a model returns it: one tensor, or a tuple."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Put named outputs of parts of a batch together."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _step(step: Any) -> str:
    key = getattr(step, "key", getattr(step, "idx", getattr(step, "name", step)))
    return f".{key}"
