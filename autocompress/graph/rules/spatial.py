"""Operators on images: pooling, resizing, padding, and channels turned into space or back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from autocompress.graph.activations import Activation
from autocompress.graph.nodes import place
from autocompress.graph.propagation import Propagation, Rule

Arguments = Mapping[str, Any]


def pool(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Pooling and resizing work on each channel on its own."""
    state = p.state(args.get("self", args.get("input")))
    value = node.meta["val"]
    shape = value.shape if isinstance(value, Tensor) else value[0].shape
    batched = len(shape) == state.labels.dim() and shape[1] == state.labels.shape[1]
    if not batched or len(shape) < 3:
        p.unknown(node, f"pools in an unusual shape in {place(node)}")
        p.set_fixed(node)
        return
    channels = p.along(state, 1, f"pools by channel in {place(node)}")
    view = (1, -1) + (1,) * (len(shape) - 2)
    labels, zero = channels.labels.view(view), channels.zero.view(view)
    if isinstance(value, Tensor):
        p.set(node, labels, zero)
    else:
        p.set_list(node, [Activation(labels.expand(shape), zero.expand(shape))] * len(value))


def pad(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Padding: new elements are fixed; along the channels they are constants."""
    state = p.state(args["self"])
    widths, value = list(args["pad"]), args.get("value")
    constant = args.get("mode", "constant") == "constant"
    varying = p.labels.varying(state.labels)
    dims = state.labels.dim()
    labels, zero = state.labels, state.zero
    for number in range(len(widths) // 2):
        dim, before, after = dims - 1 - number, widths[2 * number], widths[2 * number + 1]
        if not before and not after:
            continue
        if dim in varying and not constant:
            p.labels.fix(state.labels, f"padded along its units in {place(node)}")
        if dim in varying:
            edges = [0] * (2 * number) + [before, after]
            labels, zero = F.pad(labels, edges), F.pad(zero.long(), edges, value=1).bool()
        else:
            labels, zero = labels.narrow(dim, 0, 1), zero.all(dim, keepdim=True)
            if value not in (None, 0):
                zero = torch.zeros_like(zero)
    p.set(node, labels, zero)


def shuffle_channels(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``channel_shuffle``: groups interleave, so each loses the same relative indices."""
    state = p.state(args["self"])
    channels = p.along(state, 1, f"shuffled by channel in {place(node)}")
    groups = channels.labels.view(args["groups"], -1)
    p.make_grid(groups)
    view = (1, -1) + (1,) * (state.labels.dim() - 2)
    zero = channels.zero.view(args["groups"], -1)
    p.set(node, groups.t().reshape(view), zero.t().reshape(view))


def channels_to_space(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``pixel_shuffle``: r*r consecutive channels become one."""
    state = p.state(args["self"])
    channels = p.along(state, 1, f"turned into space in {place(node)}")
    blocks = channels.labels.view(-1, args["upscale_factor"] ** 2)
    p.labels.tie(blocks, blocks[:, :1], "makes one channel together with others")
    zero = channels.zero.view(blocks.shape).all(1)
    p.set(node, blocks[:, 0].view(1, -1, 1, 1), zero.view(1, -1, 1, 1))


def space_to_channels(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``pixel_unshuffle`` and ``im2col``: a channel becomes several consecutive ones."""
    state = p.state(args["self"])
    channels = p.along(state, 1, f"turned into channels in {place(node)}")
    times = node.meta["val"].shape[1] // len(channels.labels)
    view = (1, -1) + (1,) * (node.meta["val"].dim() - 2)
    labels, zero = (
        t.repeat_interleave(times).view(view) for t in (channels.labels, channels.zero)
    )
    p.set(node, labels, zero)


def gate(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``glu``: the first half times the sigmoid of the second."""
    state = p.state(args["self"])
    first, second = state.labels.chunk(2, args["dim"])
    p.labels.tie(first, second, "gates another half")
    p.set(node, first, state.zero.chunk(2, args["dim"])[0])


_POOLS = tuple(
    f"{kind}_pool{dims}d"
    for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp")
    for dims in (1, 2, 3)
)
_RESIZES = (
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact2d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_trilinear3d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*_POOLS, *_RESIZES, "max_pool2d_with_indices", "grid_sampler"), pool),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    "channel_shuffle": shuffle_channels,
    "pixel_shuffle": channels_to_space,
    **dict.fromkeys(("pixel_unshuffle", "im2col"), space_to_channels),
    "glu": gate,
}
