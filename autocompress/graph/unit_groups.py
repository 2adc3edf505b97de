"""What a unit is: slices, in one or many tensors, that stand or fall together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from autocompress.graph.activations import Role
from autocompress.short_repr import short_repr

Kind = Literal["convolution", "linear"]
ONLY_UNIT = "it is the only unit of its kind"


@short_repr
@dataclass(frozen=True)
class Member:
    """One dimension of one tensor that a group's units cut.

    Attributes:
        tensor: canonical name in ``model.named_parameters()`` or ``model.named_buffers()``.
        dim: the dimension.
        role: a unit is zero when its slices of all members are, but for roles ``norm_statistic``
            and ``consumer``.
        indices: int64 ``[units, k]``: the indices along the dimension that belong to each unit.
    """

    tensor: str
    dim: int
    role: Role
    indices: Tensor


@short_repr
@dataclass(frozen=True)
class UnitGroup:
    """Units of the same kind: the population in which a local ranking chooses.

    Attributes:
        name: name of the layer of the first weight member, with ``:2``, ``:3`` … where a layer has
            several groups.
        kind: ``convolution`` when any weight member is a convolution's.
        members: what the units cut.
        size: number of units.
        reasons: why removal would not be exact; empty if it is.
        sizes: whole-number attributes of the model's own modules, as ``"module.attribute"``, that
            shrink in proportion; those of standard PyTorch modules follow anyway.
    """

    name: str
    kind: Kind
    members: tuple[Member, ...]
    size: int
    reasons: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()

    @property
    def removable(self) -> bool:
        """Whether units of this group can be removed exactly."""
        return not self.reasons


@dataclass(frozen=True)
class Units:
    """The units of a model; iterates over its groups in forward order.

    Attributes:
        groups: all groups, those that are not removable included (they say why).
        fixed: layer name to why some or all of its outputs belong to no unit at all.
    """

    groups: tuple[UnitGroup, ...]
    fixed: Mapping[str, str]

    def __repr__(self) -> str:
        removable = sum(group.size for group in self.groups if group.removable)
        total = sum(group.size for group in self.groups)
        return f"<Units: {total} in {len(self)} groups, {removable} removable>"

    def __iter__(self) -> Iterator[UnitGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def removable(self) -> tuple[UnitGroup, ...]:
        """The groups whose units can be removed exactly."""
        return tuple(group for group in self.groups if group.removable)
