"""How much of the trade-off a front covers: one number that only grows while a study runs."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def dominated_volume(points: Points) -> float:
    """Return the volume of the unit cube that lies above at least one point.

    Args:
        points: [n, 3], to be minimised; what lies outside the unit cube is ignored or clipped.

    Returns:
        the hypervolume with reference point (1, 1, 1), in [0, 1]: the area that the points up to
        each height dominate, summed over slices of the third coordinate.
    """
    inside = np.clip(points[(points < 1).all(axis=1)], 0, None)
    ordered = inside[np.argsort(inside[:, 2], kind="stable")]
    tops = np.append(ordered[:, 2], 1.0)[1:]
    slices = zip(range(1, len(ordered) + 1), ordered[:, 2], tops, strict=True)
    return float(sum(_area(ordered[:n, :2]) * (top - low) for n, low, top in slices if top > low))


def _area(points: Points) -> float:
    ordered = points[np.argsort(points[:, 0])]
    widths = np.diff(ordered[:, 0], append=1.0)
    return float(widths @ (1 - np.minimum.accumulate(ordered[:, 1])))


def volumes_over_time(points: Sequence[Sequence[float] | None]) -> Iterator[float]:
    """Return the volume dominated after each trial; ``None`` is a trial without a point."""
    front = np.empty((0, 3))
    volume = 0.0
    for point in points:
        if point is not None and not (front <= point).all(axis=1).any():
            new = np.array([point], dtype=np.float64)
            front = np.concatenate([front[~(new <= front).all(axis=1)], new])
            volume = dominated_volume(front)
        yield volume
