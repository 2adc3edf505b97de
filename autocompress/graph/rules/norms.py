"""Normalisations."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from autocompress.graph.activations import Activation, Role
from autocompress.graph.nodes import is_floating, place
from autocompress.graph.propagation import Propagation, Rule

Arguments = Mapping[str, Any]
BY_CHANNEL: tuple[tuple[str, Role], ...] = (
    ("weight", "norm_weight"),
    ("bias", "norm_bias"),
    ("running_mean", "norm_statistic"),
    ("running_var", "norm_statistic"),
)


def batch_norm(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Each channel on its own; zero once scale and shift are."""
    state = p.state(args["input"])
    if args.get("training"):
        p.unknown(node, f"a batch norm with batch statistics in {place(node)}")
        p.set_fixed(node)
        return
    channels = p.along(state, 1, f"normalised by channel in {place(node)}")
    for key, role in BY_CHANNEL:
        _tie_vector(p, node, channels.labels, args.get(key), role)
    dims = state.labels.dim()
    zeroed = torch.tensor(is_floating(args["weight"]))
    p.set(node, _as_channels(channels.labels, dims), zeroed.expand((1,) * dims))


def _as_channels(labels: Tensor, dims: int) -> Tensor:
    return labels.view((1, -1) + (1,) * (dims - 2))


def _tie_vector(p: Propagation, node: fx.Node, labels: Tensor, vector: Any, role: Role) -> None:
    if not is_floating(vector):
        return
    axes = p.weight_axes(vector)
    reason = f"a computed scale or shift in {place(node)}"
    tied = p.state(vector).labels if axes is None else p.use(axes[0], role)
    p.labels.tie(labels, tied, reason)


def layer_norm(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Over the last dimensions: their mean and variance see every unit, zero or not."""
    state = p.state(args["input"])
    dims = state.labels.dim()
    normalised = list(range(dims - len(args["normalized_shape"]), dims))
    _normalise(p, node, state, args, normalised)


def _normalise(
    p: Propagation, node: fx.Node, state: Activation, args: Arguments, dims: Sequence[int]
) -> None:
    if set(dims) & p.labels.varying(state.labels):
        p.labels.flag(state.labels, f"normalised together with other units in {place(node)}")
    for key, role in BY_CHANNEL[:2]:
        vector = args.get(key)
        if not is_floating(vector):
            continue
        if len(dims) == 1:
            axis = p.along(state, dims[0], f"normalised in {place(node)}")
            _tie_vector(p, node, axis.labels, vector, role)
        else:
            p.labels.fix(state.labels, f"normalised over several axes in {place(node)}")
    zeroed = torch.tensor(is_floating(args.get("weight")))
    p.set(node, state.labels, zeroed.expand((1,) * state.labels.dim()))


def group_norm(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Over groups of channels; each channel on its own is exact, as in an instance norm."""
    state = p.state(args["input"])
    channels = p.along(state, 1, f"normalised by channel in {place(node)}")
    groups, size = args["num_groups"], len(channels.labels)
    if groups < size:
        if groups > 1:
            by_group = channels.labels.view(groups, -1)
            p.labels.tie(by_group, by_group[:1], "shares a group norm")
        p.labels.flag(channels.labels, f"normalised together with other units in {place(node)}")
    _tie_vector(p, node, channels.labels, args.get("weight"), "norm_weight")
    _tie_vector(p, node, channels.labels, args.get("bias"), "norm_bias")
    dims = state.labels.dim()
    zeroed = torch.tensor(is_floating(args.get("weight")))
    p.set(node, _as_channels(channels.labels, dims), zeroed.expand((1,) * dims))


def instance_norm(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Each channel of each image on its own."""
    state = p.state(args["input"])
    channels = p.along(state, 1, f"normalised by channel in {place(node)}")
    for key, role in BY_CHANNEL:
        _tie_vector(p, node, channels.labels, args.get(key), role)
    p.set(node, state.labels, state.zero | is_floating(args.get("weight")))


RULES: Mapping[str, Rule] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
}
