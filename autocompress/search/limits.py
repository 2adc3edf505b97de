"""Limits that a candidate must keep to be feasible."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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
