"""What surgery can do to an architecture: found once, for all recipes and all descendants."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autocompress.graph import Fold, LowRank, Member, Plan, Remove, UnitGroup, Units, find_units
from autocompress.graph.plan import Axis
from autocompress.graph.tracing import Inputs
from autocompress.graph.unit_groups import ONLY_UNIT
from autocompress.short_repr import short_repr
from autocompress.techniques.folding import foldable


@short_repr
@dataclass(frozen=True)
class Analysis:
    """What surgery can do to an architecture, whatever its weights are.

    Attributes:
        units: what can be removed.
        folds: which batch norms can be folded into which layers.
        example: the inputs that the model was analysed with.
    """

    units: Units
    folds: tuple[Fold, ...]
    example: Inputs = field(repr=False, compare=False)

    def folds_after(self, plan: Plan) -> tuple[Fold, ...]:
        """Return the foldings that are left in a model that a plan made of this architecture.

        Removing units changes nothing of them; the norm of a factorized layer folds into that of
        its two factors which is beside it.
        """
        folds = self.folds
        for step in plan.steps:
            if isinstance(step, LowRank):
                folds = tuple(_into_factor(fold, step) for fold in folds)
            elif isinstance(step, Fold):
                folds = tuple(fold for fold in folds if fold != step)
        return folds

    def after(self, plan: Plan, model: nn.Module) -> "Analysis":
        """Return the analysis of a model that a plan made of this architecture.

        Where units were removed and layers factorized, groups and foldings follow from the plan,
        without a trace. The ranks between two factors are then not among the units. Else the model
        is analysed anew.

        Args:
            plan: from this architecture to the model.
            model: it is not changed.

        Raises:
            UsageError: the model had to be analysed anew, and cannot be traced.
        """
        groups: tuple[UnitGroup, ...] | None = self.units.groups
        for step in plan.steps:
            groups = (
                None if groups is None or isinstance(step, Fold) else _groups_after(groups, step)
            )
        if groups is None:
            return analyze(model, _on_device_of(model, self.example))
        units = Units(groups, self.units.fixed)
        return Analysis(units, self.folds_after(plan), self.example)


def analyze(model: nn.Module, example: Inputs) -> Analysis:
    """Find what surgery can do to a model.

    Args:
        model: it is not changed.
        example: a batch, or a tuple of all positional arguments.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
    """
    return Analysis(find_units(model, example), foldable(model, example).steps, example)


def _into_factor(fold: Fold, step: LowRank) -> Fold:
    if fold.convolution != step.module:
        return fold
    return replace(fold, convolution=f"{step.module}.{1 if fold.order == 'after' else 0}")


def _groups_after(
    groups: tuple[UnitGroup, ...], step: Remove | LowRank
) -> tuple[UnitGroup, ...] | None:
    """Return the groups after a step; None where they cannot be told from it."""
    if isinstance(step, LowRank):
        return tuple(_with_factors(group, step.module) for group in groups)
    gone = {axis: torch.tensor(indices) for axis, indices in step.indices.items()}
    followed = [_without(group, gone) for group in groups]
    found = [group for group in followed if group is not None]
    return tuple(found) if len(found) == len(groups) else None


def _with_factors(group: UnitGroup, module: str) -> UnitGroup:
    """Let the members in a layer's tensors be members in those of its two factors."""
    members = tuple(
        replace(m, tensor=_in_factor(m, module)) if m.tensor.startswith(f"{module}.") else m
        for m in group.members
    )
    return group if members == group.members else replace(group, members=members)


def _in_factor(member: Member, module: str) -> str:
    """Return a tensor's new name: inputs are the first factor's, outputs the second's."""
    key = member.tensor.removeprefix(f"{module}.")
    return f"{module}.{0 if (key, member.dim) == ('weight', 1) else 1}.{key}"


def _without(group: UnitGroup, gone: Mapping[Axis, Tensor]) -> UnitGroup | None:
    """Return a group after a removal; None where its members no longer agree."""
    members, stay = [], None
    for member in group.members:
        removed = gone.get((member.tensor, member.dim))
        kept = _kept(member.indices, removed)
        if stay is not None and not torch.equal(stay, kept.any(1)):
            return None
        stay = kept.any(1)
        widths = kept[stay].sum(1).unique()  # type: ignore[no-untyped-call]
        if len(widths) != 1:
            return None
        members.append(replace(member, indices=_renumbered(member.indices, kept, removed)))
    size = members[0].indices.shape[0]
    reasons = group.reasons or ((ONLY_UNIT,) if size == 1 else ())
    return replace(group, members=tuple(members), size=size, reasons=reasons)


def _kept(indices: Tensor, removed: Tensor | None) -> Tensor:
    """Return which of a member's indices are left: bool ``[units, k]``."""
    if removed is None:
        return torch.ones_like(indices, dtype=torch.bool)
    return ~torch.isin(indices, removed)


def _renumbered(indices: Tensor, kept: Tensor, removed: Tensor | None) -> Tensor:
    """Return the indices that are left, counted without those that went: ``[units, k]``."""
    if removed is None:
        return indices
    left = indices[kept]
    left = left - torch.searchsorted(removed, left)
    return left.reshape(int(kept.any(1).sum()), -1)


def _on_device_of(model: nn.Module, example: Inputs) -> Inputs:
    parameter = next(model.parameters(), None)
    if parameter is None:
        return example
    moved: Inputs = tree_map(
        lambda x: x.to(parameter.device) if isinstance(x, Tensor) else x, example
    )
    return moved
