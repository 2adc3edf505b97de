"""Intervals of scores."""

from math import sqrt

Z = 1.959963984540054  # of a 95 % interval: quantile of the normal distribution


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion that was seen in ``n`` items (Wilson 1927).

    Args:
        share: in [0, 1].
        n: at least 1.

    Example:
        >>> low, high = wilson(0.9, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    return centre - half, centre + half
