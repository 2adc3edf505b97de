"""Layers with weights: they start new units for their outputs and read those of their inputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from autocompress.graph.activations import Activation, WeightAxes
from autocompress.graph.nodes import is_floating, place
from autocompress.graph.propagation import Propagation, Rule
from autocompress.graph.tracing import module_of

Arguments = Mapping[str, Any]
NOT_ZERO = "still adds a constant when it is zero: an activation with f(0) != 0 feeds {}"
INPUT = "read by a layer that stays"


def convolution(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Convolutions of any rank, plain, depthwise or grouped."""
    _convolve(p, node, args, transposed=False)


def transposed_convolution(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Transposed convolutions: the weight is [in, out / groups, ...]."""
    _convolve(p, node, args, transposed=True)


def generic_convolution(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``aten.convolution``, which says in an argument whether it is transposed."""
    _convolve(p, node, args, transposed=bool(args["transposed"]))


def _convolve(p: Propagation, node: fx.Node, args: Arguments, *, transposed: bool) -> None:
    axes = p.weight_axes(args["weight"])
    dims = node.meta["val"].dim()
    state = p.state(args["input"])
    if state.labels.dim() != args["weight"].meta["val"].dim():
        axes = None
    if axes is None:
        _computed_weight(p, node, args)
        return
    channels = p.along(state, 1, f"read as channels in {place(node)}")
    p.read(channels, NOT_ZERO.format(module_of(node) or "a convolution"))
    p.layers[axes[0].tensor] = "convolution"
    size, groups = channels.labels.shape[0], args["groups"]
    connect = _depthwise if groups == size and groups > 1 else _grouped
    outputs = connect(p, channels.labels, axes, (groups, transposed))
    _add_bias(p, args["bias"], outputs)
    shape = (1, -1) + (1,) * (dims - 2)
    p.set(node, outputs.view(shape), torch.ones((1,) * dims, dtype=torch.bool))


def _depthwise(
    p: Propagation, channels: Tensor, axes: WeightAxes, how: tuple[int, bool]
) -> Tensor:
    """Each input channel has its own outputs."""
    first = p.use(axes[0], "weight")
    if how[1]:
        p.labels.tie(channels, first, INPUT)
        return first.repeat_interleave(axes[1].size)
    p.labels.tie(channels.repeat_interleave(axes[0].size // len(channels)), first, INPUT)
    return first


def _grouped(p: Propagation, channels: Tensor, axes: WeightAxes, how: tuple[int, bool]) -> Tensor:
    """Every group loses the same relative indices, so that groups stay of equal width."""
    groups, transposed = how
    if transposed and groups > 1:
        p.labels.fix(channels, "read by a grouped transposed convolution")
        outputs = p.use(axes[0], "consumer")
        p.labels.fix(outputs, "belongs to a grouped transposed convolution")
        return torch.zeros(axes[1].size * groups, dtype=torch.int64)
    read, made = (axes[0], axes[1]) if transposed else (axes[1], axes[0])
    columns, outputs = p.use(read, "consumer"), p.use(made, "weight")
    p.labels.tie(channels.view(groups, -1), columns.view(1, -1), INPUT)
    if groups > 1:
        by_group = outputs.view(groups, -1)
        p.labels.tie(by_group, by_group[:1], "shares a grouped convolution")
    return outputs


def _add_bias(p: Propagation, bias: Any, outputs: Tensor) -> None:
    if not isinstance(bias, fx.Node):
        return
    axes = p.weight_axes(bias)
    labels = p.state(bias).labels if axes is None else p.use(axes[0], "bias")
    p.labels.tie(labels, outputs, "has a bias that stays")


def _computed_weight(p: Propagation, node: fx.Node, args: Arguments) -> None:
    for read in node.all_input_nodes:
        if is_floating(read):
            p.fix_node(read, f"a weight that is computed in the forward pass, {place(node)}")
    _fix_weight_sources(p, args["weight"])
    p.set_fixed(node)


def _fix_weight_sources(p: Propagation, node: Any) -> None:
    if isinstance(node, fx.Node) and is_floating(node):
        p.fix_node(node, "computed in the forward pass")


def linear(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``y = x W' + b``."""
    _apply_linear(p, node, args["input"], p.weight_axes(args["weight"]), args)


def _apply_linear(
    p: Propagation, node: fx.Node, source: fx.Node, axes: WeightAxes | None, args: Arguments
) -> None:
    if axes is None or len(axes) != 2:
        _computed_weight(p, node, args)
        return
    state, last = p.state(source), source.meta["val"].dim() - 1
    varying = p.labels.varying(state.labels)
    if varying and last not in varying:
        p.bystanders[axes[0].tensor] = "mixes along another axis than its inputs' units"
        _mix_tokens(p, node, state, args.get("bias"))
        return
    features = p.along(state, last, f"read as features in {place(node)}")
    p.read(features, NOT_ZERO.format(module_of(node) or "a linear layer"))
    p.layers.setdefault(axes[0].tensor, "linear")
    p.labels.tie(features.labels, p.use(axes[1], "consumer"), INPUT)
    outputs = p.use(axes[0], "weight")
    _add_bias(p, args.get("bias"), outputs)
    shape = (1,) * last + (-1,)
    p.set(node, outputs.view(shape), torch.ones((1,) * (last + 1), dtype=torch.bool))


def _mix_tokens(p: Propagation, node: fx.Node, state: Activation, bias: Any) -> None:
    """The units lie on another axis: they pass through, the weight stays."""
    last = state.labels.dim() - 1
    first = state.labels.narrow(last, 0, 1)
    p.labels.tie(state.labels, first, f"mixed in {place(node)}")
    p.set(node, first, state.zero.all(last, keepdim=True) & (bias is None))


def product_with_weight(
    p: Propagation, node: fx.Node, source: fx.Node, weight: WeightAxes, args: Arguments
) -> None:
    """``x @ W`` with a weight [in, out]: a linear layer."""
    _apply_linear(p, node, source, weight[::-1], args)


def embedding(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Rows of a table: its columns are units."""
    axes = p.weight_axes(args["weight"])
    if axes is None:
        _computed_weight(p, node, args)
        return
    p.layers.setdefault(axes[0].tensor, "linear")
    outputs = p.use(axes[1], "weight")
    p.set(node, outputs, torch.ones(1, dtype=torch.bool))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed_convolution
    ),
    "convolution": generic_convolution,
    "linear": linear,
    "embedding": embedding,
}
