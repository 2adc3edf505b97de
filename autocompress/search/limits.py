"""Limits that a candidate must keep to be feasible."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

DRAFT_ERROR = 0.1  # of latency, and of the size of a draft that is an estimate
FINISHED: Mapping[str, float] = {"unfinished": -1.0}
UNFINISHED: Mapping[str, float] = {"unfinished": 1.0}
"""Constraints besides the limits: what was not trained to its end is on no front."""


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

        Limits whose metric is not known (a candidate that was not trained) count as kept.
        """
        known = dict(metrics)
        if "accuracy" in known:
            known["accuracy_drop"] = baseline_accuracy - known["accuracy"]
        broken = {}
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is not None:
                broken[field.name] = float(known.get(field.name, limit)) - float(limit)
        return broken

    def surely_broken(self, metrics: Mapping[str, Any], *, exact: bool) -> str:
        """Return which limits a draft breaks by more than its error; empty where none.

        Args:
            metrics: what the draft tells of latency and size.
            exact: whether its size is exact.
        """
        sure = {name: value * (1 - DRAFT_ERROR) for name, value in metrics.items()}
        if exact:
            sure |= {n: metrics[n] for n in ("parameters", "parameter_ratio") if n in metrics}
        broken = [name for name, by in self.violations(sure, 0.0).items() if by > 0]
        return ", ".join(
            f"{name} {metrics[name]:,.4g} (at most {getattr(self, name):,g})" for name in broken
        )
