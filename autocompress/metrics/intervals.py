"""Intervals of measured values."""

from math import sqrt

Z = 1.959963984540054  # of a 95 % interval


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927): it stays within [0, 1].

    Args:
        share: of the items that have a property, in [0, 1].
        n: number of items, at least 1.

    Returns:
        lower and upper end.

    Example:
        >>> [round(end, 3) for end in wilson(0.9, 100)]
        [0.826, 0.945]
    """
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"expected a share in [0, 1] of at least 1 item, not {share} of {n}")
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)
