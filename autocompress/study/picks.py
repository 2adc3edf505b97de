"""Choose a model of the front, and say what keeps models off it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autocompress.errors import UsageError
from autocompress.study.trials import TrialRecord

Pick = Literal["accurate", "fast", "small", "balanced"]
PICKS: tuple[Pick, ...] = ("accurate", "fast", "small", "balanced")
BALANCED_DROP = 0.01  # of accuracy, that a balanced pick may lose


@dataclass(frozen=True, kw_only=True)
class Demands:
    """A budget that a model must keep; ``None`` is no demand.

    Attributes:
        max_latency_ms: milliseconds per batch.
        max_parameters: their number.
        min_accuracy: on ``valid``, in [0, 1].
    """

    max_latency_ms: float | None = None
    max_parameters: int | None = None
    min_accuracy: float | None = None

    def met_by(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether a model with these metrics keeps the budget."""
        return not self.excesses(metrics)

    def excesses(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much each demand is missed, as a fraction of it; empty if none is."""
        found = {}
        for name, most, value in (
            ("latency_ms", self.max_latency_ms, metrics["latency_ms"]),
            ("parameters", self.max_parameters, metrics["parameters"]),
        ):
            if most is not None and value > most:
                found[name] = value / most - 1
        least = self.min_accuracy
        if least is not None and metrics["accuracy"] < least:
            found["accuracy"] = 1 - metrics["accuracy"] / least
        return found


ALL = Demands()


def choose(
    how: Pick, front: Sequence[TrialRecord], demands: Demands, baseline_accuracy: float
) -> TrialRecord:
    """Return the member of a front that is best in one way among those that meet the demands.

    Args:
        how: in which way.
        front: at least one trial.
        demands: what to leave out.
        baseline_accuracy: in [0, 1]; ``balanced`` stays within one point of it.

    Raises:
        UsageError: none meets the demands; the message names the nearest.
    """
    fitting = [trial for trial in front if demands.met_by(trial.metrics)]
    if not fitting:
        nearest = min(front, key=lambda trial: sum(demands.excesses(trial.metrics).values()))
        missed = ", ".join(demands.excesses(nearest.metrics))
        raise UsageError(
            f"no model on the front meets the demands; nearest is trial {nearest.number} "
            f"(it misses {missed}): accuracy {nearest.metrics['accuracy']:.4f}, "
            f"latency {nearest.metrics['latency_ms']:.3f} ms, "
            f"{nearest.metrics['parameters']:,} parameters"
        )
    return max(fitting, key=lambda trial: _merit(how, trial.metrics, baseline_accuracy))


def _merit(how: Pick, metrics: Mapping[str, Any], baseline_accuracy: float) -> float:
    if how == "accurate":
        return float(metrics["accuracy"])
    if how == "fast":
        return -float(metrics["latency_ms"])
    if how == "small":
        return -float(metrics["parameters"])
    if metrics["accuracy"] < baseline_accuracy - BALANCED_DROP:
        return float(metrics["accuracy"]) - 2  # below every model that keeps its accuracy
    return -float(metrics["latency_ratio"] * metrics["parameter_ratio"])


def undominated(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that no other beats: at least as good in every objective, better in one.

    Args:
        trials: complete ones; the objectives are accuracy, latency and parameters, as the search
            measured them.
    """
    points = np.array([t.searched for t in trials]).reshape(-1, 3) * (-1, 1, 1)
    kept: list[int] = []
    front = np.empty((0, 3))
    for index in np.lexsort(points.T[::-1]):  # whoever beats a point comes before it
        point = points[index]
        beaten = (front <= point).all(axis=1) & (front < point).any(axis=1)
        if not beaten.any():
            kept.append(int(index))
            front = points[kept]
    return [trials[index] for index in sorted(kept)]


@dataclass(frozen=True)
class Misses:
    """Why no trial is feasible.

    Attributes:
        tried: limit to the number of trials of which its metric is known.
        broken: limit to the number of trials that break it, most first.
        alone: limit to the number of complete trials that break nothing else: loosening it helps.
        nearest: the complete trial that breaks the limits least; ``None`` if none is complete.
        by: limit that it breaks to by how much.
    """

    tried: Mapping[str, int]
    broken: Mapping[str, int]
    alone: Mapping[str, int]
    nearest: TrialRecord | None
    by: Mapping[str, float]


def misses_of(trials: Sequence[TrialRecord], limits: Mapping[str, float]) -> Misses | None:
    """Return what keeps trials from being feasible; ``None`` where no limit does.

    The nearest is the one with the least sum of violations, each as a fraction of its limit; for
    a drop of accuracy, as a fraction of all images.

    Args:
        trials: none of them feasible.
        limits: of the study, by name.
    """
    broken = [[name for name, by in trial.violations.items() if by > 0] for trial in trials]
    counts = Counter(name for names in broken for name in names)
    if not counts:
        return None
    tried = Counter(name for trial in trials for name in trial.violations)
    alone = Counter(
        names[0]
        for trial, names in zip(trials, broken, strict=True)
        if trial.state == "complete" and len(names) == 1
    )

    def distance(trial: TrialRecord) -> float:
        return sum(
            by if name == "accuracy_drop" else by / limits[name]
            for name, by in trial.violations.items()
            if by > 0
        )

    complete = [trial for trial in trials if trial.state == "complete"]
    nearest = min(complete, key=distance, default=None)
    by = {} if nearest is None else {n: v for n, v in nearest.violations.items() if v > 0}
    return Misses(dict(tried), dict(counts.most_common()), dict(alone), nearest, by)
