"""Groups of weights that are ranked and zeroed: of one layer's weight, or a group's units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from autocompress.graph import Member, UnitGroup
from autocompress.graph.masking import NOT_ZEROED
from autocompress.techniques.granularity import Granularity, ranks_layers
from autocompress.techniques.layers import Kind, Layer

WeightScore = Callable[[str], Tensor]  # canonical name -> a score for each element


class Groups(Protocol):
    """Groups of weights that are ranked together in the local scope."""

    @property
    def name(self) -> str:
        """The layer's or unit group's name."""

    @property
    def kind(self) -> Kind:
        """Which of the two sparsities applies."""

    @property
    def scored_tensors(self) -> tuple[str, ...]:
        """Canonical names of the tensors whose scores count."""

    @property
    def is_whole_layer(self) -> bool:
        """Whether there is a single group, to be ranked among those of other layers."""

    def scores(self, score: WeightScore, zeroed: Tensor | None) -> Tensor:
        """Return one score per group; -inf for those that are zeroed already."""

    def masks(self, zeroed: Tensor) -> Mapping[str, Tensor]:
        """Return, per tensor, a bool that broadcasts over it: True where it is to be zero."""


@dataclass(frozen=True)
class WeightGroups:
    """One layer's weight under a granularity."""

    layer: Layer
    granularity: Granularity

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def kind(self) -> Kind:
        """The layer's kind."""
        return self.layer.kind

    @property
    def scored_tensors(self) -> tuple[str, ...]:
        """The weight's name."""
        return (self.layer.parameter,)

    @property
    def is_whole_layer(self) -> bool:
        """Whether the layer is zeroed as a whole."""
        return ranks_layers(self.granularity)

    @property
    def group_count(self) -> int:
        """Number of groups in the weight."""
        weight = self.layer.common(self.layer.weight.detach())
        return self.granularity(torch.empty(weight.shape, device="meta")).numel()

    def scores(self, score: WeightScore, zeroed: Tensor | None) -> Tensor:
        """Score the groups, in the shape that the granularity gives."""
        elements = self.layer.common(score(self.layer.parameter))
        if zeroed is not None:
            elements = elements.masked_fill(zeroed, -torch.inf)
        return self.granularity(elements)

    def masks(self, zeroed: Tensor) -> Mapping[str, Tensor]:
        """Mask the weight."""
        return {self.layer.parameter: self.layer.original(zeroed)}


@dataclass(frozen=True)
class CoupledGroups:
    """A group of units; ``scored_by`` are the members whose scores count."""

    group: UnitGroup
    scored_by: tuple[Member, ...]
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """The group's name."""
        return self.group.name

    @property
    def kind(self) -> Kind:
        """The group's kind."""
        return self.group.kind

    @property
    def scored_tensors(self) -> tuple[str, ...]:
        """Names of the members that score the units."""
        return tuple(member.tensor for member in self.scored_by)

    @property
    def is_whole_layer(self) -> bool:
        """A group of units is never zeroed as a whole."""
        return False

    def scores(self, score: WeightScore, zeroed: Tensor | None) -> Tensor:
        """Score the units, ``[units]``: mean over each member's elements, then over members."""
        by_member = [unit_means(score(m.tensor), m) for m in self.scored_by]
        scores = torch.stack(by_member).mean(0)
        return scores if zeroed is None else scores.masked_fill(zeroed, -torch.inf)

    def masks(self, zeroed: Tensor) -> Mapping[str, Tensor]:
        """Mask everything that must be zero for the units to be zero."""
        found: dict[str, Tensor] = {}
        for member in self.group.members:
            if member.role not in NOT_ZEROED:
                tensor = self.tensors[member.tensor]
                mask = _along(tensor, member, zeroed)
                before = found.get(member.tensor)
                found[member.tensor] = mask if before is None else before | mask
        return found


def unit_means(values: Tensor, member: Member) -> Tensor:
    """Average a tensor's values over each unit's slices: ``[units]``."""
    along = values.movedim(member.dim, 0).reshape(values.shape[member.dim], -1).mean(1)
    return along[member.indices.to(along.device)].mean(1)


def _along(tensor: Tensor, member: Member, zeroed: Tensor) -> Tensor:
    """Return a mask of one dimension, shaped to broadcast over the tensor."""
    mask = torch.zeros(tensor.shape[member.dim], dtype=torch.bool, device=tensor.device)
    mask[member.indices[zeroed.to(member.indices.device)].flatten().to(tensor.device)] = True
    shape = [1] * tensor.dim()
    shape[member.dim] = -1
    return mask.view(shape)


def norm_weights(group: UnitGroup) -> tuple[Member, ...]:
    """Return the members of a group that are factors of a norm."""
    return tuple(member for member in group.members if member.role == "norm_weight")
