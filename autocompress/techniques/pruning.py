"""Pruning: physically remove every unit that is exactly zero. Outputs stay equal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autocompress.errors import UsageError, VerificationError
from autocompress.graph.masking import NOT_ZEROED, copy_without
from autocompress.graph.removal import Choice, removal
from autocompress.graph.tracing import Inputs, named_tensors
from autocompress.graph.units import UnitGroup, find_units
from autocompress.graph.verification import difference, float64_outputs, tolerance_for
from autocompress.settings import check, setting
from autocompress.short_repr import short_repr
from autocompress.techniques.report import Report

TOLERANCE = 1e-9


@short_repr
@dataclass(frozen=True, slots=True)
class Pruning:
    """How zero units are removed.

    Attributes:
        round_to: widths that are left are multiples of this (8, 16 … suit most hardware): some
            zero units stay for it. 1 removes all of them.
    """

    round_to: int = setting(1, help="widths stay multiples of this", low=1)

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)


@short_repr
@dataclass(frozen=True, kw_only=True)
class Pruned(Report):
    """What pruning did.

    Attributes:
        removed: group name to the number of units removed.
        refused: group name to why its zero units stay although they were thought removable.
        difference: largest difference of the outputs before and after, in standard deviations.
    """

    removed: Mapping[str, int]
    refused: Mapping[str, str]
    difference: float


def zero_units(model: nn.Module, units: Iterable[UnitGroup]) -> dict[str, Tensor]:
    """Return for each group, by name, which of its units are exactly zero: bool ``[units]``.

    A unit is zero when its slices of all members are, but for running statistics and for what only
    reads the unit.
    """
    tensors = named_tensors(model)
    lines: dict[tuple[str, int], Tensor] = {}
    found = {}
    for group in units:
        zero = torch.ones(group.size, dtype=torch.bool)
        for member in group.members:
            if member.role in NOT_ZEROED:
                continue
            axis = (member.tensor, member.dim)
            if axis not in lines:
                lines[axis] = _nonzero_along(tensors[member.tensor], member.dim)
            zero &= ~lines[axis][member.indices].any(1)
        found[group.name] = zero
    return found


def _nonzero_along(tensor: Tensor, dim: int) -> Tensor:
    """Return for each index of a dimension whether anything in its slice is not zero, on CPU."""
    others = [d for d in range(tensor.dim()) if d != dim]
    nonzero = tensor.detach() != 0
    return (nonzero.any(others) if others else nonzero).cpu()


def prune(
    model: nn.Module,
    settings: Pruning | None = None,
    *,
    example: Inputs,
    units: Iterable[UnitGroup] | None = None,
) -> tuple[nn.Module, Pruned]:
    """Return a new model without the units that are exactly zero; its outputs are equal.

    Args:
        model: the model; it is not changed.
        settings: how units are removed.
        example: a batch as the model takes it, or a tuple of all positional arguments. The
            outputs of both models are compared on it in float64.
        units: the model's units, if they were found before.

    Returns:
        The new model, and what went, what had to stay and why.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> for tensor in model[0].parameters():
        ...     tensor.data[:2] = 0
        >>> small, report = prune(model, example=torch.rand(1, 3, 8, 8))
        >>> small[0].out_channels, report.sentences
        (6, ('0: 2 of 8 units are removed',))
    """
    settings = settings or Pruning()
    groups = tuple(find_units(model, example)) if units is None else tuple(units)
    choices = choose(model, groups, settings)
    attempt = _Attempt(model, example)
    accepted, pruned, found = attempt.prune(choices)
    removed = {choice.group.name: int(choice.removed.sum()) for choice in accepted}
    step = removal(model, accepted)
    return pruned, Pruned(
        steps=(step,) if step.indices else (),
        sentences=_sentences(model, groups, removed, attempt.refused, settings),
        removed=removed,
        refused=attempt.refused,
        difference=found,
    )


def choose(model: nn.Module, units: Sequence[UnitGroup], settings: Pruning) -> list[Choice]:
    """Choose the zero units to remove: at least one stays in each group, widths are rounded up."""
    removable = [group for group in units if group.removable]
    zero = zero_units(model, removable)
    choices = [
        Choice(
            group, _trimmed(zero[group.name], _stay(zero[group.name], group, settings.round_to))
        )
        for group in removable
    ]
    return [choice for choice in choices if bool(choice.removed.any())]


def _stay(zero: Tensor, group: UnitGroup, round_to: int) -> int:
    """Return how many units stay: a multiple of the step that makes every width a multiple."""
    step = math.lcm(
        *(
            round_to // math.gcd(round_to, member.indices.shape[1])
            for member in group.members
            if member.role == "weight"
        )
    )
    needed = max(1, int((~zero).sum()))
    return min(group.size, math.ceil(needed / step) * step)


def _trimmed(zero: Tensor, stay: int) -> Tensor:
    """Keep the first zero units where more units have to stay than are not zero."""
    spare = stay - int((~zero).sum())
    removed = zero.clone()
    removed[zero.nonzero().flatten()[: max(spare, 0)]] = False
    return removed


class _Attempt:
    """Removes choices that keep the outputs; the fewest possible where some of them don't."""

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self.model, self.inputs = model, inputs
        self.expected = float64_outputs(model, inputs)
        self.refused: dict[str, str] = {}
        self.last: tuple[list[Choice], nn.Module, float] | None = None

    def prune(self, choices: Sequence[Choice]) -> tuple[list[Choice], nn.Module, float]:
        """Return what can go, the model without it, and the difference of the outputs.

        Raises:
            VerificationError: the outputs differ though nothing is removed.
        """
        accepted = self.acceptable(list(choices))
        if self.last is None or _names(self.last[0]) != _names(accepted):
            self._refuse_unstable(self.why_not(accepted))
        assert self.last is not None
        return accepted, *self.last[1:]

    def acceptable(self, choices: list[Choice]) -> list[Choice]:
        """Return the choices that can go together; halve them where they cannot."""
        reason = self.why_not(choices)
        if reason is None:
            return choices
        if not choices:
            self._refuse_unstable(reason)
        if len(choices) == 1:
            self.refused[choices[0].group.name] = reason
            return []
        middle = len(choices) // 2
        first, second = self.acceptable(choices[:middle]), self.acceptable(choices[middle:])
        if self.why_not(first + second) is None:
            return first + second
        for choice in second:  # each half is fine, but not both
            reason = self.why_not([*first, choice])
            if reason is None:
                first.append(choice)
            else:
                self.refused[choice.group.name] = reason
        return first

    def _refuse_unstable(self, reason: str | None) -> None:
        if reason is not None:
            name = type(self.model).__name__
            raise VerificationError(
                f"no removal from {name} can be verified: with nothing removed, {reason}"
            )

    def why_not(self, choices: list[Choice]) -> str | None:
        try:
            found = self.without(choices)
        except (UsageError, VerificationError) as error:
            return str(error)
        if found <= TOLERANCE or found <= self.tolerance():
            return None
        without = "outputs without them" if choices else "outputs of a copy"
        return f"{without} differ by {found:.3g} standard deviations"

    def tolerance(self) -> float:
        return tolerance_for(self.model, self.inputs, self.expected, TOLERANCE)

    def without(self, choices: list[Choice]) -> float:
        self.last = None  # frees its memory
        pruned = copy_without(self.model, choices)
        found = difference(self.expected, float64_outputs(pruned, self.inputs))
        self.last = (choices, pruned, found)
        return found


def _names(choices: Sequence[Choice]) -> list[str]:
    return [choice.group.name for choice in choices]


def _sentences(
    model: nn.Module,
    groups: Sequence[UnitGroup],
    removed: Mapping[str, int],
    refused: Mapping[str, str],
    settings: Pruning,
) -> tuple[str, ...]:
    """Say what went of each group, and why zeros stay."""
    said = []
    zero = zero_units(model, groups)
    for group in groups:
        name, went = group.name, removed.get(group.name, 0)
        left = int(zero[name].sum()) - went
        if went:
            said.append(f"{name}: {went} of {group.size} units are removed")
        if name in refused:
            said.append(f"{name}: {left} zero units stay: {refused[name]}")
        elif left and not group.removable:
            said.append(f"{name}: {left} units are zero, but stay: {'; '.join(group.reasons)}")
        elif left:
            why = f"the width is a multiple of {settings.round_to}"
            why = "one is always left" if settings.round_to == 1 else why
            said.append(f"{name}: {left} zero units stay: {why}")
        said += _half_zero(model, group, zero[name])
    return tuple(said) or ("no unit is exactly zero",)


def _half_zero(model: nn.Module, group: UnitGroup, zero: Tensor) -> list[str]:
    """Name layers whose units are zero but for their biases, norms or coupled layers."""
    tensors = named_tensors(model)
    nonzero = {
        member.tensor: _nonzero_along(tensors[member.tensor], member.dim)[member.indices].any(1)
        for member in group.members
        if member.role not in NOT_ZEROED
    }
    said = []
    for member in group.members:
        if member.role != "weight" or not group.removable:
            continue
        units = ~nonzero[member.tensor] & ~zero
        others = [name for name, there in nonzero.items() if bool((there & units).any())]
        if bool(units.any()):
            layer = member.tensor.rpartition(".")[0]
            what = "filters" if group.kind == "convolution" else "outputs"
            verb = "is" if len(others) == 1 else "are"
            said.append(
                f"{layer}: {int(units.sum())} {what} are zero, but {', '.join(others)} {verb} not"
            )
    return said
