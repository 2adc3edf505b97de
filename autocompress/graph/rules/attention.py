"""Products of activations: matrix products, einsum and attention."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from autocompress.graph.activations import Activation
from autocompress.graph.nodes import is_floating, place
from autocompress.graph.propagation import Propagation, Rule
from autocompress.graph.rules.weights import product_with_weight

Arguments = Mapping[str, Any]
LETTERS = "abcdefghijklmnopqrstuvw"


def matrix_product(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``matmul``, ``mm`` and ``bmm``."""
    a, b = args["self"], args.get("other", args.get("mat2"))
    weight = p.weight_axes(b)
    if weight is not None and len(weight) == 2 and p.trace.is_parameter(p.resolve(b)):
        product_with_weight(p, node, a, weight, {"weight": b})
        return
    na, nb = a.meta["val"].dim(), b.meta["val"].dim()
    if na < 2 or nb < 2:
        p.unknown(node, f"a product with a vector in {place(node)}")
        p.set_fixed(node)
        return
    batch = LETTERS[: max(na, nb) - 2]
    left = batch[len(batch) - (na - 2) :] + "xy"
    right = batch[len(batch) - (nb - 2) :] + "yz"
    contract(p, node, (p.state(a), p.state(b)), (left, right, batch + "xz"))


def add_product(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``addmm`` and ``baddbmm``: nothing of it is removed."""
    p.unknown(node, f"a product with an added term in {place(node)}")
    p.set_fixed(node)


def einsum(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Contractions of two activations by letters."""
    operands = args["tensors"]
    equation = args["equation"].replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    letters = inputs.split(",")
    simple = arrow and "." not in equation and all(len(set(t)) == len(t) for t in letters)
    if len(operands) != 2 or not simple:
        p.unknown(node, f"an einsum of another kind in {place(node)}")
        p.set_fixed(node)
        return
    states = (p.state(operands[0]), p.state(operands[1]))
    contract(p, node, states, (letters[0], letters[1], output))


def contract(
    p: Propagation,
    node: fx.Node,
    states: tuple[Activation, Activation],
    letters: tuple[str, str, str],
) -> None:
    """Sum of products over letters: units live along one letter of each operand."""
    first, second = (
        _one_letter(p, state, names, node) for state, names in zip(states, letters, strict=False)
    )
    out = letters[2]
    shared = [
        c
        for c in letters[0]
        if c in letters[1] and _size(states[0], letters[0], c) == _size(states[1], letters[1], c)
    ]
    clash = first.letter != second.letter and first.letter and second.letter
    if clash:
        _fix_both(p, node, states)
        return
    letter = first.letter or second.letter
    dims = len(out)
    if not letter:
        p.set(node, torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.bool))
        return
    if letter in shared:
        p.labels.tie(
            first.labels, second.labels, f"multiplied with something fixed in {place(node)}"
        )
        zero = first.zero | second.zero
        labels = torch.maximum(first.labels, second.labels)
    else:
        own = first if first.letter else second
        labels, zero = own.labels, own.zero
        p.labels.fix((second if own is first else first).labels, f"multiplied in {place(node)}")
    if letter not in out:
        p.read(
            Activation(labels, zero.expand(labels.shape)),
            f"still counts when it is zero in {place(node)}",
        )
        p.set(node, torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.bool))
        return
    shape = [1] * dims
    shape[out.index(letter)] = -1
    p.set(node, labels.view(shape), zero.expand(labels.shape).view(shape))


class _Along:
    """An operand reduced to the letter along which its units lie."""

    def __init__(self, letter: str, labels: Tensor, zero: Tensor) -> None:
        self.letter, self.labels, self.zero = letter, labels, zero


def _one_letter(p: Propagation, state: Activation, letters: str, node: fx.Node) -> _Along:
    p.make_grid(state.labels)
    varying = p.labels.varying(state.labels)
    if not varying:
        flat = state.labels.reshape(-1)[:1]
        p.labels.tie(state.labels, flat, f"multiplied in {place(node)}")
        return _Along("", flat, state.zero.all().reshape(1))
    dim = min(varying)
    line = p.along(state, dim, f"multiplied in {place(node)}")
    return _Along(letters[dim], line.labels, line.zero)


def _size(state: Activation, letters: str, letter: str) -> int:
    return state.labels.shape[letters.index(letter)]


def _fix_both(p: Propagation, node: fx.Node, states: tuple[Activation, Activation]) -> None:
    for state in states:
        p.labels.fix(state.labels, f"multiplied across axes in {place(node)}")
    p.set_fixed(node)


def scaled_attention(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``softmax(scale * q k') v``: heads are independent, value widths pass through."""
    query, key, value = (p.state(args[name]) for name in ("query", "key", "value"))
    if query.labels.shape[:-2] != key.labels.shape[:-2]:
        p.unknown(node, f"heads of different number in {place(node)}")
        p.set_fixed(node)
        return
    dims = query.labels.dim()
    reason = f"attends in {place(node)}"
    for state in (query, key, value):
        p.labels.tie(state.labels, state.labels[..., :1, :], reason)
    q, k, v = (state.labels[..., :1, :] for state in (query, key, value))
    p.labels.tie(q, k, reason)
    widths = p.labels.varying(q)
    if dims - 1 in widths and args.get("scale") is None:
        p.labels.flag(q, f"the scale depends on the width of a head in {place(node)}")
    if dims - 1 in widths:
        bits = query.zero.all(-2, keepdim=True) | key.zero.all(-2, keepdim=True)
        p.read(
            Activation(q, bits.expand(q.shape)), f"still counts when it is zero in {place(node)}"
        )
    heads = {dim for dim in widths | p.labels.varying(v) if dim < dims - 2}
    if heads and q.shape[:-2] == v.shape[:-2]:
        p.labels.tie(q[..., :1], v[..., :1], reason)
        if args.get("attn_mask") is not None and is_floating(args["attn_mask"]):
            _tie_mask(p, node, v, p.state(args["attn_mask"]).labels)
    elif heads:
        p.unknown(node, f"heads of different number in {place(node)}")
    elif is_floating(args.get("attn_mask")):
        p.fix_node(args["attn_mask"], reason)
    p.set(node, v, value.zero.all(-2, keepdim=True))


def _tie_mask(p: Propagation, node: fx.Node, v: Tensor, mask: Tensor) -> None:
    mask = mask[(None,) * (v.dim() - mask.dim())]
    reason = f"attends with a mask in {place(node)}"
    p.labels.tie(mask, mask[..., :1, :1], reason)
    for dim in range(v.dim() - 2):
        if mask.shape[dim] == 1 and dim in p.labels.varying(v):
            p.labels.fix(mask, reason)
            return
    p.labels.tie(mask[..., :1, :1], v[..., :1], reason)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("matmul", "mm", "bmm"), matrix_product),
    **dict.fromkeys(("addmm", "baddbmm"), add_product),
    "einsum": einsum,
    "scaled_dot_product_attention": scaled_attention,
}
