"""What stands or falls together in a weight: functions from scores to group scores.

A granularity takes the scores of a layer's weight in the layout of ``layers.py``: a convolution's
are ``[out, in, depth, height, width]``, whatever its dimensions, groups and direction; a linear
layer's are ``[out, in]``. It returns one score per group, in a shape that broadcasts over the
weight's: the mean over the group, or +inf for what must never be zeroed. A score of -inf (zeroed
before) makes its group's -inf.

Of the axes of a convolution, each of the 16 choices of those that a group spans has a name; depth
counts as spanned where both height and width are.

``CONVOLUTION_GRANULARITIES.register`` and ``LINEAR_GRANULARITIES.register`` add others. One may
declare, with ``registry.declare``, ``units_of``: kinds of layers of which it zeroes whole units;
``across_layers``: whether each layer is one group, and layers are ranked among each other;
``multiple_of``: what the number of a layer's inputs must be a multiple of.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from autocompress.registry import Registry, by_name, declare, declared
from autocompress.techniques.layers import Kind

Granularity = Callable[[Tensor], Tensor]
OUT, IN, DEPTH, HEIGHT, WIDTH = range(5)


def weight(scores: Tensor) -> Tensor:
    """Zero single weights."""
    return scores


def shared_weight(scores: Tensor) -> Tensor:
    """Zero one position of one input channel's kernels in all filters at once."""
    return scores.mean(OUT, keepdim=True)


def channel(scores: Tensor) -> Tensor:
    """Zero one position of a filter's kernels in all its input channels at once."""
    return scores.mean(IN, keepdim=True)


def column(scores: Tensor) -> Tensor:
    """Zero one column of one kernel (in a linear layer: all weights that read one input)."""
    return scores.mean(OUT if scores.dim() == 2 else HEIGHT, keepdim=True)


@declare(units_of=("linear",))
def row(scores: Tensor) -> Tensor:
    """Zero one row of one kernel (in a linear layer: a unit, which is one output)."""
    return scores.mean(IN if scores.dim() == 2 else WIDTH, keepdim=True)


def kernel(scores: Tensor) -> Tensor:
    """Zero one kernel: all weights between one input channel and one filter."""
    return scores.mean((DEPTH, HEIGHT, WIDTH), keepdim=True)


@declare(units_of=("convolution",))
def filter(scores: Tensor) -> Tensor:  # noqa: A001 - the name users know
    """Zero one filter: all weights of one output channel, and what stands or falls with it."""
    return scores.mean((IN, DEPTH, HEIGHT, WIDTH), keepdim=True)


def shared_channel(scores: Tensor) -> Tensor:
    """Zero one position of all kernels of a layer at once."""
    return scores.mean((OUT, IN), keepdim=True)


def shared_column(scores: Tensor) -> Tensor:
    """Zero one column of one input channel's kernels in all filters at once."""
    return scores.mean((OUT, HEIGHT), keepdim=True)


def shared_row(scores: Tensor) -> Tensor:
    """Zero one row of one input channel's kernels in all filters at once."""
    return scores.mean((OUT, WIDTH), keepdim=True)


def vertical_slice(scores: Tensor) -> Tensor:
    """Zero one column of a filter's kernels in all its input channels at once."""
    return scores.mean((IN, HEIGHT), keepdim=True)


def horizontal_slice(scores: Tensor) -> Tensor:
    """Zero one row of a filter's kernels in all its input channels at once."""
    return scores.mean((IN, WIDTH), keepdim=True)


def shared_vertical_slice(scores: Tensor) -> Tensor:
    """Zero one column of all kernels of a layer at once."""
    return scores.mean((OUT, IN, HEIGHT), keepdim=True)


def shared_horizontal_slice(scores: Tensor) -> Tensor:
    """Zero one row of all kernels of a layer at once."""
    return scores.mean((OUT, IN, WIDTH), keepdim=True)


def shared_kernel(scores: Tensor) -> Tensor:
    """Zero all kernels that read one input channel of a layer at once."""
    return scores.mean((OUT, DEPTH, HEIGHT, WIDTH), keepdim=True)


@declare(across_layers=True)
def layer(scores: Tensor) -> Tensor:
    """Zero all weights of a layer; layers are always ranked among each other."""
    return scores.mean(tuple(range(scores.dim())), keepdim=True)


@declare(multiple_of=4)
def two_of_four(scores: Tensor) -> Tensor:
    """Zero the two lowest of four neighbouring inputs, so half at most (Mishra et al. 2021).

    Both of a block's lowest weights get the block's score: the mean of the two.

    Args:
        scores: ``[out, in, ...]`` with ``in`` a multiple of 4.
    """
    blocks = torch.unflatten(scores, IN, (-1, 4))
    lowest = blocks.topk(2, dim=IN + 1, largest=False)
    spared = torch.full_like(blocks, torch.inf)
    pair_score = lowest.values.mean(IN + 1, keepdim=True).expand_as(lowest.values)
    return spared.scatter(IN + 1, lowest.indices, pair_score).flatten(IN, IN + 1)


CONVOLUTION_GRANULARITIES: Registry[Granularity] = by_name(
    "granularity",
    weight,
    shared_weight,
    channel,
    column,
    row,
    kernel,
    filter,
    shared_channel,
    shared_column,
    shared_row,
    vertical_slice,
    horizontal_slice,
    shared_vertical_slice,
    shared_horizontal_slice,
    shared_kernel,
    layer,
    two_of_four,
)
LINEAR_GRANULARITIES: Registry[Granularity] = by_name(
    "linear granularity", weight, column, row, layer, two_of_four
)
GRANULARITIES: Mapping[Kind, Registry[Granularity]] = {
    "convolution": CONVOLUTION_GRANULARITIES,
    "linear": LINEAR_GRANULARITIES,
}


def zeroes_units(granularity: Granularity, kind: Kind) -> bool:
    """Return whether a granularity zeroes units of a kind of layers, not groups of one weight."""
    return kind in declared(granularity, "units_of", default=())


def ranks_layers(granularity: Granularity) -> bool:
    """Return whether a layer is one group, to be ranked among other layers."""
    return bool(declared(granularity, "across_layers", default=False))


def inputs_multiple_of(granularity: Granularity) -> int:
    """Return what the number of a layer's inputs must be a multiple of."""
    return int(declared(granularity, "multiple_of", default=1))
