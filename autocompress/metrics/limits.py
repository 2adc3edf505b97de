"""Limits that a candidate must keep to be feasible: on any metric, absolute or by the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from autocompress.errors import ConfigurationError
from autocompress.metrics.metric import LATENCY, Estimate, Metric
from autocompress.registry import did_you_mean

Kind = Literal["value", "ratio", "drop"]
Estimates = Mapping[str, Estimate]
ESTIMATE_ERRORS: Mapping[str, float] = {LATENCY.name: 0.1}
"""By what fraction of itself the latency of an untrained structure may be wrong."""
ROUNDING = 1e-12
"""What floats may be wrong by, as a fraction of the largest number in a comparison.

It is far below one image of any split, one parameter, or a nanosecond."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit.

    Attributes:
        name: in study files: ``"latency_ratio"``.
        metric: what it is on.
        kind: ``"value"`` of the metric, its ``"ratio"`` to the baseline's, or its ``"drop"``:
            what is lost against the baseline, in the metric's unit.
        bound: the most that is allowed; of a metric that is maximized the least, except for a
            drop.
    """

    name: str
    metric: Metric
    kind: Kind
    bound: float

    @property
    def least(self) -> bool:
        """Whether the bound is the least that is allowed."""
        return self.kind != "drop" and self.metric.direction == "maximize"

    def excess_of(self, value: float, baseline: float | None) -> float | None:
        """Return by how much a value breaks the limit; 0 or less is kept.

        A value on the bound keeps it, whatever the rounding of differences and ratios.

        Args:
            value: of the metric.
            baseline: the baseline's; ``None`` while it is not known.
        """
        found = self.of(value, baseline)
        if found is None:
            return None
        excess = self.bound - found if self.least else found - self.bound
        return 0.0 if abs(excess) <= self._rounding(found, baseline) else float(excess)

    def _rounding(self, found: float, baseline: float | None) -> float:
        known = [abs(self.bound), abs(found) if math.isfinite(found) else 0.0]
        return ROUNDING * max(known if self.kind == "ratio" else [*known, abs(baseline or 0.0)])

    def of(self, value: float, baseline: float | None) -> float | None:
        """Return what the bound is on: the value, its ratio, or the drop.

        Args:
            value: of the metric.
            baseline: the baseline's; ``None`` while it is not known: then a ratio or drop is not
                known either.
        """
        if self.kind == "value":
            return value
        if baseline is None:
            return None
        if self.kind == "drop":
            return self.metric.sign * (value - baseline)
        if baseline == 0:
            return 1.0 if value == 0 else math.inf
        return value / baseline

    @property
    def scale(self) -> float:
        """What an excess is a fraction of: the bound; for a drop of a fraction, all items."""
        if self.kind == "drop" and self.metric.format == "fraction":
            return 1.0
        return abs(self.bound) or 1.0

    def allowed(self, baseline: float | None) -> float | None:
        """Return the bound as a value of the metric; ``None`` where it needs the baseline's.

        What is computed is wider by the rounding, so that a value on the bound is within it.
        """
        if self.kind == "value":
            return self.bound
        if baseline is None:
            return None
        drop = baseline + self.metric.sign * self.bound
        bound = drop if self.kind == "drop" else self.bound * baseline
        return bound + self.metric.sign * ROUNDING * max(abs(bound), abs(baseline))


@dataclass(frozen=True)
class Limits:
    """The limits of a study.

    Attributes:
        limits: each with a name of its own.

    Example:
        >>> limits = Limits.from_mapping({"latency_ms": 2.0}, [LATENCY])
        >>> limits.violations({"latency_ms": Estimate(value=2.5)}, {})
        {'latency_ms': 0.5}
    """

    limits: tuple[Limit, ...] = ()

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], metrics: Sequence[Metric]) -> Self:
        """Read a table ``[limits]``.

        Args:
            given: numbers by name: a metric's ``name``, ``ratio_name`` or ``drop_name``;
                ``None`` is no limit.
            metrics: all that are known of a model of this study.

        Raises:
            ConfigurationError: a name is unknown, or a value is outside its range.
        """
        known = {name: (metric, kind) for metric in metrics for name, kind in _names(metric)}
        problems, found = [], []
        for name, bound in given.items():
            if bound is None:
                continue
            if name not in known:
                problems.append(
                    f"limits.{name}: unknown key {name!r}{did_you_mean(name, known)}; "
                    f"allowed: {', '.join(known)}"
                )
                continue
            metric, kind = known[name]
            problem = _problem(bound, metric, kind)
            if problem:
                problems.append(f"limits.{name}: {problem}, got {bound!r}")
            else:
                found.append(Limit(name=name, metric=metric, kind=kind, bound=bound))
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self.limits)

    def __getitem__(self, name: str) -> Limit:
        return next(limit for limit in self.limits if limit.name == name)

    def on(self, metric: str) -> bool:
        """Return whether one of them is on the metric of this name."""
        return any(limit.metric.name == metric for limit in self.limits)

    def violations(self, metrics: Estimates, baseline: Estimates) -> dict[str, float]:
        """Return by how much each limit is broken, by its name; 0 or less is kept.

        Limits whose metric is not known (of a candidate that was not trained, or while there is
        no baseline) are left out.
        """
        found = {}
        for limit in self.limits:
            name = limit.metric.name
            if name in metrics:
                excess = limit.excess_of(metrics[name].value, _value(baseline, name))
                if excess is not None:
                    found[limit.name] = excess
        return found

    def constraints(self, metrics: Estimates, baseline: Estimates) -> dict[str, float]:
        """Return violations as a sampler needs them: of every limit; what is not known is kept."""
        kept = {limit.name: 0.0 for limit in self.limits}
        return {**kept, **self.violations(metrics, baseline)}

    def surely_broken(
        self,
        metrics: Estimates,
        baseline: Estimates,
        errors: Mapping[str, float] = ESTIMATE_ERRORS,
    ) -> str:
        """Return which limits an estimate breaks by more than its error; empty where none.

        Args:
            metrics: what is estimated; what is not in ``errors`` is exact.
            baseline: what the baseline has.
            errors: fraction of its value by which a metric may be wrong.
        """
        best = {name: found.value for name, found in metrics.items()}
        for metric in {limit.metric.name: limit.metric for limit in self.limits}.values():
            if metric.name in errors and metric.name in best:
                value = best[metric.name]
                best[metric.name] = value - metric.sign * errors[metric.name] * abs(value)
        at_best = {name: Estimate(value=value) for name, value in best.items()}
        excess = self.violations(at_best, baseline)
        broken = []
        for limit in self.limits:
            if excess.get(limit.name, 0.0) > 0:
                name = limit.metric.name
                found = limit.of(metrics[name].value, _value(baseline, name))
                word = "least" if limit.least else "most"
                broken.append(f"{limit.name} {found:,.4g} (at {word} {limit.bound:,g})")
        return ", ".join(broken)

    def bounds(self, baseline: Estimates) -> dict[str, float]:
        """Return what is allowed of each metric that a limit is on, by the metric's name.

        That is the most, or of a metric that is maximized the least; where several limits are on
        one metric, the tightest. What needs a baseline is left out until there is one.
        """
        found: dict[str, float] = {}
        for limit in self.limits:
            name, sign = limit.metric.name, limit.metric.sign
            bound = limit.allowed(_value(baseline, name))
            if bound is not None:
                tightest = min(sign * bound, sign * found.get(name, bound))
                found[name] = sign * tightest
        return found

    def distance(self, violations: Mapping[str, float]) -> float:
        """Return how far a candidate is from keeping the limits: 0 for one that does.

        That is the sum of what is over each limit, as a fraction of its bound; for a drop of a
        fraction, such as an accuracy, as a fraction of all.
        """
        return sum(by / self[name].scale for name, by in violations.items() if by > 0)


def _names(metric: Metric) -> tuple[tuple[str, Kind], ...]:
    return (metric.name, "value"), (metric.ratio_name, "ratio"), (metric.drop_name, "drop")


def _problem(bound: Any, metric: Metric, kind: Kind) -> str:
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        return "expected a finite number"
    positive = metric.comparison == "ratio" and metric.direction == "minimize"
    if bound <= 0 and (kind == "ratio" or (kind == "value" and positive)):
        return "must be above 0"
    if kind == "drop" and bound < 0:
        return "must be at least 0"
    if metric.format == "fraction" and kind != "ratio" and not 0 <= bound <= 1:
        return "must be at least 0 and at most 1"
    return ""


def _value(metrics: Estimates, name: str) -> float | None:
    return metrics[name].value if name in metrics else None
