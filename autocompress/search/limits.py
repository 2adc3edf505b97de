"""Limits that a candidate must keep to be feasible."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DRAFT_ERROR = 0.1  # of the latency of a draft
FINISHED: Mapping[str, float] = {"unfinished": -1.0}
UNFINISHED: Mapping[str, float] = {"unfinished": 1.0}
"""Constraints besides the limits: what was not trained to its end is on no front."""


def is_finished(constraints: Mapping[str, float]) -> bool:
    """Return whether a complete trial was trained to its end, by its constraints.

    Where a sampler had to be given values for a trial that was stopped, it was not.
    """
    return constraints.get("unfinished", -1.0) <= 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a model may cost at most; ``None`` is no limit.

    Attributes:
        accuracy_drop: fraction of accuracy that may be lost against the baseline, in [0, 1].
        latency_ms: milliseconds per batch.
        latency_ratio: latency as a fraction of the baseline's.
        parameters: number of parameters.
        parameter_ratio: parameters as a fraction of the baseline's.
    """

    accuracy_drop: float | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    parameters: int | None = None
    parameter_ratio: float | None = None

    @property
    def on_latency(self) -> bool:
        """Whether one of them is on latency."""
        return (self.latency_ms, self.latency_ratio) != (None, None)

    @property
    def on_size(self) -> bool:
        """Whether one of them is on parameters."""
        return (self.parameters, self.parameter_ratio) != (None, None)

    def violations(self, metrics: Mapping[str, Any], baseline_accuracy: float) -> dict[str, float]:
        """Return by how much each limit is broken; 0 or less is kept.

        Limits whose metric is not known (a candidate that was not trained) are left out.
        """
        known = dict(metrics)
        if "accuracy" in known:
            known["accuracy_drop"] = baseline_accuracy - known["accuracy"]
        limits = {n: most for n, most in asdict(self).items() if most is not None and n in known}
        return {name: float(known[name]) - float(most) for name, most in limits.items()}

    def constraints(
        self, metrics: Mapping[str, Any], baseline_accuracy: float
    ) -> dict[str, float]:
        """Return violations as a sampler needs them: of every limit; what is not known is kept."""
        kept = {name: 0.0 for name, most in asdict(self).items() if most is not None}
        return {**kept, **self.violations(metrics, baseline_accuracy)}

    def surely_broken(self, metrics: Mapping[str, Any]) -> str:
        """Return which limits an exact draft breaks by more than its error; empty where none.

        Args:
            metrics: what the draft tells of size, which is exact, and of latency.
        """
        error = {"latency_ms": DRAFT_ERROR, "latency_ratio": DRAFT_ERROR}
        sure = {name: value * (1 - error.get(name, 0.0)) for name, value in metrics.items()}
        broken = [name for name, by in self.violations(sure, 0.0).items() if by > 0]
        return ", ".join(
            f"{name} {metrics[name]:,.4g} (at most {getattr(self, name):,g})" for name in broken
        )
