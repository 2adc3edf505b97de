"""How much of the trade-off a front covers: one number that only grows while a study runs."""

from collections.abc import Iterator, Sequence

from autocompress.metrics import Metric
from autocompress.metrics.pareto import hypervolume, hypervolumes
from autocompress.results import Estimates

FLOOR = 0.9  # of the baseline, where the covered volume of something that is maximized begins


def unit_point(
    metrics: Estimates, baseline: Estimates, objectives: Sequence[Metric]
) -> list[float] | None:
    """Return objectives as coordinates to be minimized, in a unit cube of what counts as covered.

    Something that is minimized counts below the baseline's value. Something that is maximized
    counts from 90 % of it on; a fraction from there up to 1, so that its coordinate is the share
    of the errors that 90 % would leave. What is better than any that counts is at 0.

    Returns:
        a coordinate for each objective; ``None`` where one is not known.
    """
    if not all(metric.name in metrics and metric.name in baseline for metric in objectives):
        return None
    return [
        max(0.0, _coordinate(metric, metrics[metric.name].value, baseline[metric.name].value))
        for metric in objectives
    ]


def _coordinate(metric: Metric, value: float, baseline: float) -> float:
    if metric.format == "fraction":
        wrong, before = (v if metric.sign == 1 else 1 - v for v in (value, baseline))
        return wrong / ((1 - FLOOR * (1 - before)) or 1.0)
    if metric.sign == 1:
        return value / baseline if baseline > 0 else float(value > 0)
    return FLOOR * baseline / value if value > 0 else 1.0


def volumes_over_time(
    points: Sequence[Sequence[float] | None], objectives: int
) -> Iterator[float]:
    """Yield the covered volume after each trial, in [0, 1].

    Args:
        points: of ``unit_point``; ``None`` is a trial without one.
        objectives: how many coordinates a point has.
    """
    return hypervolumes(points, [1.0] * objectives)


def covered_volume(
    found: Sequence[Estimates], baseline: Estimates, objectives: Sequence[Metric]
) -> float:
    """Return the volume that models cover together, in [0, 1].

    Args:
        found: what is known of each model.
        baseline: what they are set beside.
        objectives: the dimensions, 1 to 5.
    """
    points = [unit_point(metrics, baseline, objectives) for metrics in found]
    known = [point for point in points if point is not None]
    return hypervolume(known, [1.0] * len(objectives)) if known else 0.0
