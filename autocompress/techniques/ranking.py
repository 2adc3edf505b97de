"""Which groups to zero: exactly as many as asked for, the lowest scores first."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


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
    """Return the ``count``-th smallest value, a scalar tensor."""
    if flat.device.type == "cpu":
        # several times faster than torch.kthvalue on a hundred million values
        value = np.partition(flat.numpy(), count - 1)[count - 1]
        return torch.tensor(value, dtype=flat.dtype)
    if 2 * count <= flat.numel():
        return flat.topk(count, largest=False, sorted=False).values.max()
    return flat.topk(flat.numel() - count + 1, sorted=False).values.min()


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
    ranked = torch.cat([_spare_best(_normalised(s.flatten())) for s in scores])
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


def _normalised(scores: Tensor) -> Tensor:
    finite = scores[scores.isfinite()].double()
    scale = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    return scores / scale if scale > 0 else scores


def _spare_best(scores: Tensor) -> Tensor:
    spared = scores.clone()
    spared[spared.argmax()] = torch.inf
    return spared
