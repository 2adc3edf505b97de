"""Which groups to zero: exactly as many as asked for, the lowest scores first."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SAMPLE = 65_536  # values that bracket a threshold


def lowest(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` lowest of some scores; equal ones go in the order of their position.

    Args:
        scores: any shape, infinities allowed.
        count: in [0, number of scores].

    Returns:
        bool, shape of ``scores``.
    """
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    flat = scores.flatten()
    threshold = _smallest(flat, count)
    marked = flat <= threshold
    surplus = int(marked.count_nonzero()) - count
    if surplus:
        tied = (flat == threshold).nonzero().flatten()
        marked[tied[len(tied) - surplus :]] = False
    return marked.view_as(scores)


def _smallest(flat: Tensor, count: int) -> Tensor:
    """Return the ``count``-th smallest value, a scalar tensor.

    Of many values, a sample brackets the one that is sought, and only what is inside the bracket
    is searched: a few passes over the rest, on any device.
    """
    if flat.numel() > 16 * SAMPLE:
        low, high = _bracket(flat, count)
        below = int((flat < low).count_nonzero())
        inside = flat[(flat >= low) & (flat <= high)]
        if below < count <= below + inside.numel():
            return low if bool(low == high) else inside.kthvalue(count - below).values
    return flat.kthvalue(count).values


def _bracket(flat: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return two values between which the ``count``-th smallest lies, almost surely."""
    generator = torch.Generator(flat.device).manual_seed(0)
    places = torch.randint(flat.numel(), (SAMPLE,), generator=generator, device=flat.device)
    sample = flat[places].sort().values
    middle = count * SAMPLE // flat.numel()
    margin = 3 * math.isqrt(SAMPLE)  # six standard deviations of a median's place, or more
    return sample[max(0, middle - margin)], sample[min(SAMPLE - 1, middle + margin)]


def rank_locally(scores: Tensor, fraction: float) -> Tensor:
    """Mark the lowest fraction of one layer's groups.

    Args:
        scores: one per group, any shape; -inf goes first, +inf stays.
        fraction: of the groups, in [0, 1].

    Returns:
        bool, shape of ``scores``. At least one group is left.
    """
    allowed = min(int((scores < torch.inf).count_nonzero()), scores.numel() - 1)
    return lowest(scores, min(round(fraction * scores.numel()), allowed))


def rank_globally(scores: Sequence[Tensor], fraction: float) -> list[Tensor]:
    """Mark the lowest fraction of the groups of several layers, in one ranking.

    The scores of each layer are divided by their root mean square, so that layers compare
    whatever their scale. At least one group is left in each layer.

    Args:
        scores: per layer, one score per group, any shapes; -inf goes first, +inf stays.
        fraction: of all groups, in [0, 1].

    Returns:
        per layer, bool, shape of its scores.
    """
    ranked = torch.cat([_comparable(s) for s in scores])
    allowed = int((ranked < torch.inf).count_nonzero())
    marked = lowest(ranked, min(round(fraction * ranked.numel()), allowed))
    parts = torch.split(marked, [s.numel() for s in scores])
    return [part.view_as(s) for part, s in zip(parts, scores, strict=True)]


def rank_layers(scores: Sequence[Tensor], fraction: float) -> list[Tensor]:
    """Mark the lowest fraction of whole layers, each of which is one group.

    Args:
        scores: per layer, its one score, any shape.
        fraction: of the layers, in [0, 1].

    Returns:
        per layer, bool, shape of its score. At least one layer is left.
    """
    marked = rank_locally(torch.cat([s.flatten() for s in scores]), fraction)
    return [part.view_as(s) for part, s in zip(torch.split(marked, 1), scores, strict=True)]


def _comparable(scores: Tensor) -> Tensor:
    """Return flat scores, divided by the root mean square of the finite ones, best one spared."""
    finite = scores.isfinite()
    norm = torch.where(finite, scores, 0).norm()
    scale = float(norm) / max(1, int(finite.count_nonzero())) ** 0.5
    comparable = scores.flatten() / (scale or 1.0)
    comparable[comparable.argmax()] = torch.inf
    return comparable
