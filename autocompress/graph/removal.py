"""From chosen units to the step of a plan that removes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from autocompress.errors import UsageError
from autocompress.graph.plan import Axis, Remove
from autocompress.graph.unit_groups import UnitGroup


@dataclass(frozen=True)
class Choice:
    """Units of one group that go.

    Attributes:
        group: the group.
        removed: bool ``[units]``, True where a unit goes; at least one stays.
    """

    group: UnitGroup
    removed: Tensor


def removal(model: nn.Module, choices: Sequence[Choice]) -> Remove:
    """Return the step that removes the chosen units of all groups together.

    Raises:
        UsageError: nothing of a group would be left.
    """
    indices: dict[Axis, list[Tensor]] = {}
    left: dict[str, Fraction] = {}
    for choice in choices:
        group, removed = choice.group, choice.removed
        if bool(removed.all()):
            raise UsageError(f"at least one of the {group.size} units of {group.name} must stay")
        if not bool(removed.any()):
            continue
        for member in group.members:
            rows = member.indices[removed].flatten()
            indices.setdefault((member.tensor, member.dim), []).append(rows)
        share = Fraction(int((~removed).sum()), group.size)
        for size in group.sizes:
            left[size] = left.get(size, Fraction(1)) * share
    return Remove(
        {axis: tuple(torch.cat(rows).unique().tolist()) for axis, rows in indices.items()},  # type: ignore[no-untyped-call]
        {name: _size_left(model, name, share) for name, share in left.items()},
    )


def _size_left(model: nn.Module, name: str, share: Fraction) -> int:
    module, _, attribute = name.rpartition(".")
    left = getattr(model.get_submodule(module), attribute) * share
    if left.denominator != 1:
        raise UsageError(f"{name} would not be a whole number after the removal")
    return int(left)
