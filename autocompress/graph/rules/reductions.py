"""Operators that reduce an axis, or that normalise along it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from autocompress.graph.activations import Activation
from autocompress.graph.nodes import place
from autocompress.graph.propagation import Propagation, Rule

Arguments = Mapping[str, Any]


def _dims(args: Arguments, count: int) -> list[int]:
    dims = args.get("dim")
    if dims is None or dims == []:
        return list(range(count))
    return [d % count for d in ([dims] if isinstance(dims, int) else dims)]


def average(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Mean, maximum and their kin: over units themselves the result would change."""
    state = p.state(args["self"])
    dims = _dims(args, state.labels.dim())
    if set(dims) & p.labels.varying(state.labels):
        p.labels.fix(state.labels, f"averaged or compared with other units in {place(node)}")
    _reduce(p, node, state, (dims, bool(args.get("keepdim"))))


def total(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Sums and norms: a unit that is zero adds nothing."""
    state = p.state(args["self"])
    dims = _dims(args, state.labels.dim())
    varying = p.labels.varying(state.labels)
    if set(dims) & varying:
        p.read(state, f"still counts when it is zero in {place(node)}")
        if varying - set(dims):
            p.labels.fix(state.labels, f"summed across axes in {place(node)}")
        p.set(node, torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.bool))
        return
    _reduce(p, node, state, (dims, bool(args.get("keepdim"))))


def norm(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Vector norms; only positive orders are sums."""
    order = args.get("ord", args.get("p", 2))
    positive = order is None or (isinstance(order, int | float) and 0 < order < float("inf"))
    (total if positive else average)(p, node, args)


def _reduce(p: Propagation, node: fx.Node, state: Activation, how: tuple[list[int], bool]) -> None:
    dims, keep = how
    labels, zero = state.labels, state.zero
    for dim in sorted(dims, reverse=True):
        first = labels.narrow(dim, 0, 1)
        p.labels.tie(labels, first, f"reduced in {place(node)}")
        labels, zero = first, zero.all(dim, keepdim=True)
        if not keep:
            labels, zero = labels.squeeze(dim), zero.squeeze(dim)
    if isinstance(node.meta["val"], torch.Tensor):
        p.set(node, labels, zero)
    else:
        p.set_list(node, [Activation(labels, zero), Activation(labels, zero)])


def softmax(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Each element depends on all along the axis; zero becomes something else."""
    state = p.state(args["self"])
    if args["dim"] % state.labels.dim() in p.labels.varying(state.labels):
        p.labels.fix(state.labels, f"softmax over units in {place(node)}")
    p.set(node, state.labels, torch.zeros_like(state.zero))


def cumulative(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Running sums along an axis without units."""
    state = p.state(args["self"])
    if args["dim"] % state.labels.dim() in p.labels.varying(state.labels):
        p.labels.fix(state.labels, f"summed up along units in {place(node)}")
    p.set(node, state.labels, state.zero)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("mean", "amax", "amin", "max", "min", "var", "std", "var_mean"), average),
    "sum": total,
    **dict.fromkeys(("linalg_vector_norm", "norm"), norm),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    "cumsum": cumulative,
}
