"""How much of the trade-off a front covers: one number that only grows while a study runs."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autocompress.metrics import Metric
from autocompress.metrics.pareto import hypervolume
from autocompress.results import Estimates

FLOOR = 0.9  # of the baseline, where the covered volume of something that is maximized begins
Points = NDArray[np.float64]


def covered_volume(points: Points) -> float:
    """Return the part of the unit cube that at least one point dominates.

    Args:
        points: ``[n, m]``, to be minimized, as ``unit_point`` returns them; what lies outside the
            cube is ignored or clipped.

    Returns:
        the hypervolume with reference point (1, ..., 1), in [0, 1].
    """
    inside = np.clip(points[(points < 1).all(axis=1)], 0, None)
    return float(hypervolume(inside, np.ones(points.shape[1]))) if len(inside) else 0.0


def unit_point(
    metrics: Estimates, baseline: Estimates, objectives: Sequence[Metric]
) -> list[float] | None:
    """Return objectives as coordinates to be minimized; below 1 lies what counts as covered.

    Something that is minimized counts below the baseline's value. Something that is maximized
    counts from 90 % of it on; a fraction from there up to 1, so that its coordinate is the share
    of the errors that 90 % would leave.

    Returns:
        a coordinate for each objective; ``None`` where one is not known.
    """
    if not all(metric.name in metrics and metric.name in baseline for metric in objectives):
        return None
    return [
        _coordinate(metric, metrics[metric.name].value, baseline[metric.name].value)
        for metric in objectives
    ]


def _coordinate(metric: Metric, value: float, baseline: float) -> float:
    if metric.format == "fraction":
        wrong, before = (v if metric.sign == 1 else 1 - v for v in (value, baseline))
        return wrong / ((1 - FLOOR * (1 - before)) or 1.0)
    if metric.sign == 1:
        return value / baseline if baseline else float(value > 0)
    return FLOOR * baseline / value if value > 0 else 1.0


def volumes_over_time(points: Sequence[Sequence[float] | None]) -> Iterator[float]:
    """Return the volume covered after each trial; ``None`` is a trial without a point."""
    front: Points | None = None
    volume = 0.0
    for point in points:
        if point is not None:
            new = np.array([point], dtype=np.float64)
            front = new[:0] if front is None else front
            if not (front <= new).all(axis=1).any():
                front = np.concatenate([front[~(new <= front).all(axis=1)], new])
                volume = covered_volume(front)
        yield volume


def volume_of(
    found: Sequence[Estimates], baseline: Estimates, objectives: Sequence[Metric]
) -> float:
    """Return the volume that models cover together.

    Args:
        found: what is known of each model.
        baseline: what they are set beside.
        objectives: the dimensions.
    """
    points = [unit_point(metrics, baseline, objectives) for metrics in found]
    known = [point for point in points if point is not None]
    return covered_volume(np.array(known, dtype=np.float64)) if known else 0.0
