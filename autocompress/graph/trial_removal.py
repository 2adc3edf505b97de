"""A trial removal: does the model's own Python code follow?

A forward pass may repeat a size as a literal or an attribute. One unit of every group is removed
from a copy of the model without data, and the forward pass is run on fake tensors. Where it fails,
the attributes that repeat the size are searched; a group that still fails stays, with the reason.
In the end the same is done once in numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor, nn

from autocompress.errors import UsageError, VerificationError
from autocompress.graph.dry_run import DryRun, Failure, first_line
from autocompress.graph.masking import why_not_equal
from autocompress.graph.removal import Choice
from autocompress.graph.tracing import Inputs
from autocompress.graph.unit_groups import UnitGroup
from autocompress.graph.verification import why_ill_conditioned

MAX_SIZES = 3  # attributes that may repeat one size together
MAX_CANDIDATES = 6
TOLERANCE = 1e-9

Test = Callable[[Sequence[UnitGroup]], Failure | None]
Repair = Callable[[UnitGroup, Failure], UnitGroup | None]


class TrialRemoval:
    """Removes one unit of each group, on copies, until the forward pass follows."""

    def __init__(self, model: nn.Module, example_inputs: Inputs) -> None:
        self.model, self.inputs = model, example_inputs
        self.dry_run = DryRun(model, example_inputs)

    def settle(self, groups: Sequence[UnitGroup]) -> tuple[UnitGroup, ...]:
        """Return the groups with the attributes that follow, or with the reason why they stay."""
        settled = {group.name: group for group in groups}
        while (failure := self._runs(active := _removable(settled))) is not None:
            outcomes = self._outcomes(active, failure, self._runs, repair=self._followed)
            settled.update((group.name, group) for group in outcomes)
        while (failure := self._agrees(active := _removable(settled))) is not None:
            why = why_ill_conditioned(self.model, self.inputs)
            if why is not None:
                settled.update((g.name, replace(g, sizes=(), reasons=(why,))) for g in active)
                break
            outcomes = self._outcomes(active, failure, self._agrees, repair=_stays)
            settled.update((group.name, group) for group in outcomes)
        return tuple(settled.values())

    def _runs(self, groups: Sequence[UnitGroup]) -> Failure | None:
        """Return where the forward pass fails on fake tensors, if it does."""
        return self.dry_run.failure(_one_of_each(groups))

    def _agrees(self, groups: Sequence[UnitGroup]) -> Failure | None:
        """Compare the outputs in numbers: units zero against units removed."""
        try:
            why = why_not_equal(self.model, self.inputs, _one_of_each(groups), TOLERANCE)
        except (UsageError, VerificationError) as error:
            why = first_line(error)
        return None if why is None else Failure("", why)

    def _outcomes(
        self, active: Sequence[UnitGroup], failure: Failure, test: Test, *, repair: Repair
    ) -> Iterator[UnitGroup]:
        """Yield at least one group with other sizes, or with a reason to stay."""
        nearby = _in_or_around(active, failure.module)
        failing = _failing_alone(nearby, test)
        if not failing:  # each goes alone, but not all together
            yield from (_refused(group, failure) for group in nearby[len(nearby) // 2 :])
        for group in failing:
            outcome = repair(group, failure) or _refused(group, test([group]) or failure)
            yield outcome
            yield from self._alike(outcome, active, failure.module)

    def _followed(self, group: UnitGroup, failure: Failure) -> UnitGroup | None:
        """Return the group with attributes that repeat its size, if that mends the failure."""
        for sizes in _repeated_sizes(self.model, group, failure.module):
            candidate = replace(group, sizes=sizes)
            if self._runs([candidate]) is None and self._agrees([candidate]) is None:
                return candidate
        return None

    def _alike(
        self, outcome: UnitGroup, groups: Sequence[UnitGroup], module: str
    ) -> Iterator[UnitGroup]:
        """Yield the groups at the same place in modules of the same type, settled alike."""
        pattern = _pattern(outcome, module)
        if pattern is None:
            return
        kind = type(self.model.get_submodule(module))
        by_axes = {_axes(group): group for group in groups}
        for peer, candidate in self.model.named_modules():
            if type(candidate) is not kind or peer == module:
                continue
            group = by_axes.get(frozenset((f"{peer}.{tensor}", dim) for tensor, dim in pattern))
            if group is not None:
                yield replace(
                    group,
                    reasons=tuple(why.replace(module, peer) for why in outcome.reasons),
                    sizes=tuple(size.replace(module, peer) for size in outcome.sizes),
                )


def _removable(groups: Mapping[str, UnitGroup]) -> list[UnitGroup]:
    return [group for group in groups.values() if group.removable]


def _stays(_group: UnitGroup, _failure: Failure) -> None:
    """Repair nothing: where the numbers differ, no attribute mends it."""


def _one_of_each(groups: Sequence[UnitGroup]) -> list[Choice]:
    return [Choice(group, _first_of(group)) for group in groups]


def _first_of(group: UnitGroup) -> Tensor:
    removed = torch.zeros(group.size, dtype=torch.bool)
    removed[0] = True
    return removed


def _failing_alone(groups: Sequence[UnitGroup], test: Test) -> list[UnitGroup]:
    """Return the groups that fail a test on their own, by halving."""
    if not groups or test(groups) is None:
        return []
    if len(groups) == 1:
        return list(groups)
    middle = len(groups) // 2
    return _failing_alone(groups[:middle], test) + _failing_alone(groups[middle:], test)


def _refused(group: UnitGroup, failure: Failure) -> UnitGroup:
    where = failure.module or "the forward pass"
    return replace(group, sizes=(), reasons=(f"{where} repeats its size: {failure.message}",))


def _in_or_around(groups: Sequence[UnitGroup], module: str) -> Sequence[UnitGroup]:
    """Return the groups with a member in a module, or in the nearest one around it with any."""
    while module:
        inside = [g for g in groups if any(m.tensor.startswith(f"{module}.") for m in g.members)]
        if inside:
            return inside
        module = _parent(module)
    return groups


def _repeated_sizes(model: nn.Module, group: UnitGroup, module: str) -> Iterator[tuple[str, ...]]:
    """Yield sets of attributes that may repeat a group's size, the likeliest first."""
    owners = dict.fromkeys([module, *(_parent(_parent(m.tensor)) for m in group.members)])
    widths = {group.size} | {m.indices.numel() for m in group.members}
    names = [
        f"{owner}.{key}" if owner else key
        for owner in owners
        for key, value in vars(model.get_submodule(owner)).items()
        if type(value) is int and value in widths and not key.startswith("_")
    ][:MAX_CANDIDATES]
    for count in range(1, min(MAX_SIZES, len(names)) + 1):
        yield from combinations(names, count)


def _axes(group: UnitGroup) -> frozenset[tuple[str, int]]:
    return frozenset((member.tensor, member.dim) for member in group.members)


def _pattern(group: UnitGroup, module: str) -> list[tuple[str, int]] | None:
    """Return what a group cuts, relative to a module; None if it reaches out of the module."""
    if not module or any(not m.tensor.startswith(f"{module}.") for m in group.members):
        return None
    return [(m.tensor.removeprefix(f"{module}."), m.dim) for m in group.members]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
