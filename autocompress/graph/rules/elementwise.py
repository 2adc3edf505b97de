"""Operators that work element by element."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from autocompress.graph.activations import Activation
from autocompress.graph.labels import compact
from autocompress.graph.nodes import is_floating, is_tensor, place
from autocompress.graph.propagation import Propagation, Rule

Arguments = Mapping[str, Any]


def pointwise(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """A function of one activation: it keeps zeros where ``f(0) = 0``."""
    source = next(iter(args.values()))
    if not is_floating(source) or any(is_floating(a) for a in list(args.values())[1:]):
        p.unknown(node, f"computed from several tensors in {place(node)}")
        p.set_fixed(node)
        return
    state = p.state(source)
    p.set(node, state.labels, state.zero & _keeps_zero(node, source))


def _keeps_zero(node: fx.Node, source: fx.Node) -> bool:
    """Run the operator on a single zero."""
    zero = torch.zeros(1)
    args = [zero if a is source else a for a in node.args]
    if any(isinstance(a, fx.Node) for a in (*args, *node.kwargs.values())):
        return False
    assert callable(node.target)
    result = node.target(*args, **{k: v for k, v in node.kwargs.items() if k != "generator"})
    return isinstance(result, Tensor) and bool((result == 0).all())


def binary(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Sum-like operators: zero only where both operands are."""
    a, b = args["self"], args["other"]
    if is_tensor(a) and is_tensor(b):
        _store(p, node, _combined(p, node, p.state(a), p.state(b)), zero="both")
        return
    state = p.state(a if is_floating(a) else b)
    other = b if is_floating(a) else a
    harmless = isinstance(other, int | float) and other == 0
    p.set(node, state.labels, state.zero & harmless)


def product(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Products are zero where either operand is."""
    a, b = args["self"], args["other"]
    if is_tensor(a) and is_tensor(b):
        _store(p, node, _combined(p, node, p.state(a), p.state(b)), zero="either")
        return
    state = p.state(a if is_floating(a) else b)
    p.set(node, state.labels, state.zero)


def quotient(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Quotients are zero where the numerator is."""
    a, b = args["self"], args["other"]
    if is_tensor(a) and is_tensor(b):
        _store(p, node, _combined(p, node, p.state(a), p.state(b)), zero="first")
        return
    state = p.state(a if is_floating(a) else b)
    p.set(node, state.labels, state.zero & is_floating(a))


class _Pair:
    """Two operands aligned to the shape of their result."""

    def __init__(self, labels: Tensor, a: Tensor, b: Tensor) -> None:
        self.labels, self.a, self.b = labels, a, b


def _combined(p: Propagation, node: fx.Node, a: Activation, b: Activation) -> _Pair:
    """Tie two operands; where one only broadcasts along the other's units, it stays as it is."""
    out = node.meta["val"].shape
    la, lb, za, zb = (_aligned(t, len(out)) for t in (a.labels, b.labels, a.zero, b.zero))
    real_a = {d for d in range(len(out)) if la.shape[d] == out[d]}
    real_b = {d for d in range(len(out)) if lb.shape[d] == out[d]}
    vary_a, vary_b = p.labels.varying(la), p.labels.varying(lb)
    if vary_a <= real_b and vary_b <= real_a:
        p.labels.tie(la, lb, f"combined with something that stays in {place(node)}")
        big = torch.maximum(compact(la), compact(lb))
        return _Pair(big, za, zb)
    if not vary_a <= real_b and not vary_b <= real_a:
        p.labels.fix(la, f"combined across axes in {place(node)}")
        p.labels.fix(lb, f"combined across axes in {place(node)}")
        none = torch.zeros((1,) * len(out), dtype=torch.bool)
        return _Pair(none.long(), none, none)
    kept, broadcast = (la, lb) if not vary_a <= real_b else (lb, la)
    p.labels.fix(broadcast, f"broadcast over other units in {place(node)}")
    stays = torch.zeros((1,) * len(out), dtype=torch.bool)
    return _Pair(kept, za, stays) if kept is la else _Pair(kept, stays, zb)


def _aligned(tensor: Tensor, dims: int) -> Tensor:
    return tensor[(None,) * (dims - tensor.dim())]


def _store(p: Propagation, node: fx.Node, pair: _Pair, *, zero: str) -> None:
    bits = {
        "both": lambda: pair.a & pair.b,
        "either": lambda: pair.a | pair.b,
        "first": lambda: pair.a,
    }[zero]()
    p.set(node, pair.labels, bits)


def where(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """A choice between two activations: zero only where both are."""
    a, b = args["self"], args["other"]
    if is_tensor(a) and is_tensor(b):
        _store(p, node, _combined(p, node, p.state(a), p.state(b)), zero="both")
    else:
        p.unknown(node, f"chosen by a condition in {place(node)}")
        p.set_fixed(node)


def constant(p: Propagation, node: fx.Node, _: Arguments) -> None:
    """A new tensor of a given size: only shapes are read."""
    p.set_fixed(node)


def constant_like(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``zeros_like`` and its kin: as wide as an activation, which it does not read."""
    state = p.state(args["self"])
    zero = node.target is torch.ops.aten.zeros_like.default
    p.set(node, state.labels, torch.full_like(state.zero, zero))


def masked_fill(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Some elements become a constant."""
    state = p.state(args["self"])
    p.set(node, state.labels, state.zero & (args["value"] == 0))


def multiply_add(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``addcmul``: a sum with a product."""
    shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        args["tensor1"].meta["val"].shape, args["tensor2"].meta["val"].shape
    )
    if shape != node.meta["val"].shape:
        p.unknown(node, f"combined across axes in {place(node)}")
        p.set_fixed(node)
        return
    product_of = _combined(p, node, p.state(args["tensor1"]), p.state(args["tensor2"]))
    inner = Activation(product_of.labels, product_of.a | product_of.b)
    _store(p, node, _combined(p, node, p.state(args["self"]), inner), zero="both")


def parametric_relu(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``prelu``: a slope for each channel, or one for all."""
    state = p.state(args["self"])
    axes = p.weight_axes(args["weight"])
    if axes is None:
        p.fix_node(args["weight"], f"a computed slope in {place(node)}")
        p.labels.fix(state.labels, f"a computed slope in {place(node)}")
    elif axes[0].size > 1:
        channels = p.along(state, 1, f"a slope for each channel in {place(node)}")
        p.labels.tie(channels.labels, p.use(axes[0], "norm_statistic"), "tied to its slope")
    p.set(node, state.labels, state.zero)


def _with_in_place(names: tuple[str, ...], rule: Rule) -> dict[str, Rule]:
    return {name + suffix: rule for name in names for suffix in ("", "_")}


POINTWISE = (
    "relu",
    "relu6",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "sigmoid",
    "log_sigmoid",
    "tanh",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "rrelu",
    "softplus",
    "softsign",
    "softshrink",
    "hardshrink",
    "tanhshrink",
    "threshold",
    "clamp",
    "clamp_min",
    "clamp_max",
    "neg",
    "abs",
    "sign",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "expm1",
    "log",
    "log1p",
    "erf",
    "sin",
    "cos",
    "atan",
    "pow",
    "rsub",
    "round",
    "floor",
    "ceil",
    "nan_to_num",
)

RULES: Mapping[str, Rule] = {
    **_with_in_place(POINTWISE, pointwise),
    **_with_in_place(("add", "sub", "subtract", "maximum", "minimum"), binary),
    **_with_in_place(("mul", "multiply"), product),
    **_with_in_place(("div", "divide", "true_divide"), quotient),
    **_with_in_place(("masked_fill",), masked_fill),
    **_with_in_place(("addcmul",), multiply_add),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty"), constant),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), constant_like),
    "where": where,
    "prelu": parametric_relu,
}
