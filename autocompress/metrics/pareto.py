"""Dominance, Pareto front and hypervolume, for any number of objectives that are all minimized.

A metric that is maximized enters with its sign changed: :func:`costs` does that.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autocompress.metrics.metric import Estimate, Metric

Points = NDArray[np.float64]
MAX_OBJECTIVES = 5  # the exact hypervolume takes too long with more


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Return whether ``a`` is at least as good as ``b`` in every objective, and better in one.

    Args:
        a: ``[m]``, to be minimized.
        b: ``[m]``.

    Example:
        >>> dominates([1, 2], [1, 3]), dominates([1, 2], [1, 2])
        (True, False)
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"expected two points of as many objectives, not {one} and {other}")
    return bool((one <= other).all() and (one < other).any())


def non_dominated(points: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of the points that no other dominates, in ascending order.

    Of equal points either all are returned or none.

    Args:
        points: ``[n, m]``, to be minimized.

    Example:
        >>> non_dominated([[1, 3], [2, 2], [3, 1], [3, 3]]).tolist()
        [0, 1, 2]
    """
    rows = _rows(points)
    front = np.empty_like(rows)
    kept: list[int] = []
    if not rows.size:
        return np.array([], dtype=np.intp)
    for index in np.lexsort(rows.T[::-1]):  # what dominates a point comes before it
        point, found = rows[index], front[: len(kept)]
        if not ((found <= point).all(axis=1) & (found < point).any(axis=1)).any():
            front[len(kept)] = point
            kept.append(int(index))
    return np.array(sorted(kept), dtype=np.intp)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume between the points and a reference that all of them are better than.

    It is exact: two objectives by a sweep, three by slices of it, more by the algorithm WFG
    (While, Bradstreet, Barone, A Fast Way of Calculating Exact Hypervolumes, 2012).

    Args:
        points: ``[n, m]``, to be minimized, with 1 to 5 objectives; those that are not better
            than the reference in every objective add nothing.
        reference: ``[m]``.

    Example:
        >>> hypervolume([[0.0, 0.5], [0.5, 0.0]], [1.0, 1.0])
        0.75
    """
    rows, bound = _rows(points), np.asarray(reference, dtype=np.float64)
    if rows.shape[1:] != bound.shape or not 1 <= len(bound) <= MAX_OBJECTIVES:
        raise ValueError(
            f"expected points and a reference of 1 to {MAX_OBJECTIVES} objectives, not "
            f"{list(rows.shape)} and {list(bound.shape)}"
        )
    return _volume(_better(rows, bound), bound)


def hypervolumes(
    points: Sequence[Sequence[float] | None], reference: Sequence[float]
) -> Iterator[float]:
    """Yield the hypervolume of the first point, of the first two, and so on.

    Args:
        points: in the order in which they were found, to be minimized; ``None`` adds nothing.
        reference: one number per objective, 1 to 5.
    """
    bound = np.asarray(reference, dtype=np.float64)
    front, volume = np.empty((0, len(bound))), 0.0
    for point in points:
        if point is not None:
            new = np.asarray(point, dtype=np.float64)
            if (new < bound).all() and not (front <= new).all(axis=1).any():
                volume += _exclusive(new, front, bound)
                front = np.concatenate([front[~(new <= front).all(axis=1)], new[None]])
        yield volume


def costs(values: Mapping[str, Estimate | float], metrics: Sequence[Metric]) -> list[float]:
    """Return values of metrics as numbers of which less is better, in the order of ``metrics``.

    Raises:
        KeyError: one of the metrics is not known.
    """
    found = [values[metric.name] for metric in metrics]
    numbers = [value.value if isinstance(value, Estimate) else value for value in found]
    return [metric.sign * number for metric, number in zip(metrics, numbers, strict=True)]


def _rows(points: ArrayLike) -> Points:
    rows = np.asarray(points, dtype=np.float64)
    if rows.size == 0:
        return rows.reshape(0, rows.shape[1] if rows.ndim == 2 else 0)
    if rows.ndim != 2 or np.isnan(rows).any():
        raise ValueError(f"expected numbers [n, m], not {list(rows.shape)} with or without NaN")
    return rows


def _better(rows: Points, bound: Points) -> Points:
    inside = rows[(rows < bound).all(axis=1)]
    return inside[non_dominated(inside)]


def _volume(front: Points, bound: Points) -> float:
    """Return the hypervolume of points that are better than the bound and not dominated."""
    if len(front) == 0:
        return 0.0
    if len(front) == 1:
        return float(np.prod(bound - front[0]))
    if front.shape[1] == 1:
        return float(bound[0] - front.min())
    if front.shape[1] == 2:
        return _area(front, bound)
    ordered = front[np.argsort(front[:, -1], kind="stable")]
    if front.shape[1] == 3:
        depths = np.diff(ordered[:, 2], append=bound[2])
        slices = (n for n, depth in enumerate(depths, 1) if depth > 0)
        return float(sum(depths[n - 1] * _area(ordered[:n, :2], bound[:2]) for n in slices))
    ordered = ordered[::-1]  # the worst in one objective first: the others limit it most
    return sum(
        _exclusive(ordered[index], ordered[index + 1 :], bound) for index in range(len(ordered))
    )


def _area(points: Points, bound: Points) -> float:
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    widths = np.diff(ordered[:, 0], append=bound[0])
    return float(widths @ (bound[1] - np.minimum.accumulate(ordered[:, 1])))


def _exclusive(point: Points, others: Points, bound: Points) -> float:
    """Return the volume that only ``point`` dominates."""
    limited = np.maximum(others, point)
    return float(np.prod(bound - point)) - _volume(limited[_distinct(limited)], bound)


def _distinct(rows: Points) -> NDArray[np.intp]:
    """Return the indices of the non-dominated rows, equal ones once."""
    kept = non_dominated(rows)
    _, first = np.unique(rows[kept], axis=0, return_index=True)
    return kept[first]
