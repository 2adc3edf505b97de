"""Operators that only rearrange elements: they are executed on the labels themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from autocompress.graph.activations import Activation
from autocompress.graph.attention import ElasticAttention
from autocompress.graph.elastic import qualified_name
from autocompress.graph.labels import compact
from autocompress.graph.nodes import is_floating, operator_name, place
from autocompress.graph.propagation import Propagation, Rule
from autocompress.graph.window_attention import ElasticRelativeAttention, ElasticWindowAttention

Arguments = Mapping[str, Any]
ELASTIC = tuple(
    qualified_name(kind)
    for kind in (ElasticAttention, ElasticRelativeAttention, ElasticWindowAttention)
)


def same(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """The same elements in the same places: a copy, another memory layout or precision."""
    state = p.state(args.get("self", node.args[0]))
    p.set(node, state.labels, state.zero)


def execute(p: Propagation, node: fx.Node) -> Any:
    """Run a view operator on the labels and on the zero bits of what it reads."""
    target = torch.ops.aten.reshape.default if _reshapes(node) else node.target
    assert callable(target)

    def run(pick: str) -> Any:
        def value(read: fx.Node) -> Any:
            return getattr(p.state(read), pick) if is_floating(read) else p.value(read)

        mapped_args, mapped_kwargs = fx.node.map_arg((node.args, node.kwargs), value)
        return target(*mapped_args, **mapped_kwargs)

    labels, zero = run("labels"), run("zero")
    if isinstance(labels, Tensor):
        return Activation(labels, zero)
    return [Activation(one, bit) for one, bit in zip(labels, zero, strict=True)]


def _reshapes(node: fx.Node) -> bool:
    return operator_name(node) in {"view", "_unsafe_view"}


def view(p: Propagation, node: fx.Node, _: Arguments) -> None:
    """Any rearrangement: permute, expand, unsqueeze, repeat, flip."""
    state = execute(p, node)
    p.set(node, state.labels, state.zero)


def reshape(p: Propagation, node: fx.Node, _: Arguments) -> None:
    """A split axis must stay rectangular whatever is removed."""
    state = execute(p, node)
    p.make_grid(state.labels)
    p.set(node, state.labels, state.zero)


def expand_as(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Something without units that is made as wide as an activation follows its width."""
    state, other = p.state(args["self"]), p.state(args["other"])
    if bool(p.labels.units(compact(state.labels)).any()):
        view(p, node, args)
    else:
        p.set(node, other.labels, torch.zeros((), dtype=torch.bool))


def concatenate(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``cat`` and ``stack``: dimensions along which all parts are constant stay compact."""
    states = [p.state(part) for part in args["tensors"]]
    if operator_name(node) == "stack":
        states = [
            Activation(s.labels.unsqueeze(args["dim"]), s.zero.unsqueeze(args["dim"]))
            for s in states
        ]
    states = [s for s in states if s.labels.dim() > 1 or s.labels.numel() or len(states) == 1]
    dim = args["dim"] % states[0].labels.dim()
    p.set(
        node,
        _joined([s.labels for s in states], dim),
        _joined([s.zero for s in states], dim),
    )


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    shape = list(parts[0].shape)
    small = [compact(part) for part in parts]
    common = [max(part.shape[d] for part in small) for d in range(len(shape))]
    sized = []
    for part, full in zip(small, parts, strict=True):
        common[dim] = full.shape[dim]
        sized.append(part.expand(common))
    return torch.cat(sized, dim)


def slice_(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """A slice; bounds inside the axis are literals unless they cut it into equal parts."""
    state = p.state(args["self"])
    dim, size = args["dim"] % state.labels.dim(), state.labels.shape[args["dim"]]
    start, stop, step = slice(args["start"], args["end"], args["step"]).indices(size)
    if dim in p.labels.varying(state.labels):
        _keep_bounds(p, node, state.labels.movedim(dim, 0), (start, stop, step))
    part = execute(p, node)
    p.set(node, part.labels, part.zero)


def _keep_bounds(
    p: Propagation, node: fx.Node, labels: Tensor, bounds: tuple[int, int, int]
) -> None:
    start, stop, step = bounds
    size = labels.shape[0]
    if (start, stop, step) == (0, size, 1) or _is_elastic(node):
        return
    reason = f"cut at a fixed place in {place(node)}"
    width = stop - start
    if step != 1:
        p.labels.fix(labels, reason)
    elif width > 0 and size % width == 0 and start % width == 0:
        _tie_parts(p, list(labels.split(width)))  # type: ignore[no-untyped-call]
    else:
        p.labels.fix(labels[: stop if stop < size else start], reason)


def _tie_parts(p: Propagation, parts: Sequence[Tensor]) -> None:
    for part in parts[1:]:
        p.labels.tie(part, parts[0], "shares an axis that is cut into equal parts")


def _is_elastic(node: fx.Node) -> bool:
    stack = node.meta.get("nn_module_stack") or {}
    kinds = [entry[1] for entry in stack.values()]
    return bool(kinds) and str(kinds[-1]) in ELASTIC


def split(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``split``, ``chunk`` and their kin: equal parts stay equal, others keep their sizes."""
    whole = p.state(args["self"])
    parts = execute(p, node)
    dim = args["dim"] % whole.labels.dim()
    if dim in p.labels.varying(whole.labels) and not _is_elastic(node):
        widths = {part.labels.shape[dim] for part in parts}
        if len(widths) == 1:
            _tie_parts(p, [part.labels for part in parts])
        else:
            p.labels.fix(whole.labels, f"split into unequal parts in {place(node)}")
    p.set_list(node, parts)


def unbind(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """One result for each index: their number cannot change."""
    whole = p.state(args["self"])
    if args["dim"] % whole.labels.dim() in p.labels.varying(whole.labels):
        p.labels.fix(whole.labels, f"taken apart by index in {place(node)}")
    p.set_list(node, execute(p, node))


def item(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """One of several results."""
    states = p.state_or_list(args["0"])
    chosen = states[args["1"]] if isinstance(states, list) else states
    p.set(node, chosen.labels, chosen.zero)


def literal(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """``select``, ``roll``, ``unfold``: the place along an axis is a literal."""
    state = p.state(args["self"])
    dims = args.get("dims", args.get("dim", args.get("dimension")))
    named = [dims] if isinstance(dims, int) else list(dims) or list(range(state.labels.dim()))
    touched = {dim % state.labels.dim() for dim in named}
    if touched & p.labels.varying(state.labels):
        p.labels.fix(state.labels, f"taken by position in {place(node)}")
    result = execute(p, node)
    p.set(node, result.labels, result.zero)


def index(p: Propagation, node: fx.Node, args: Arguments) -> None:
    """Indexing with tensors of whole numbers or booleans."""
    state = p.state(args["self"])
    wanted = args.get("indices", [args.get("index")])
    if "dim" in args:
        wanted = [None] * (args["dim"] % state.labels.dim()) + list(wanted)
    touched = {dim for dim, index in enumerate(wanted) if index is not None}
    computed = any(isinstance(i, fx.Node) and p.value(i) is None for i in wanted)
    if p.trace.is_parameter(p.resolve(args["self"])):  # a table: only whole columns of it can go
        for dim in touched:
            p.labels.tie(state.labels, state.labels.narrow(dim, 0, 1), "a column of a table")
    if touched & p.labels.varying(state.labels) or computed:
        p.labels.fix(state.labels, f"taken by position in {place(node)}")
        p.set_fixed(node)
        return
    result = execute(p, node)
    p.set(node, result.labels, result.zero)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "contiguous",
            "clone",
            "alias",
            "detach",
            "detach_",
            "lift_fresh_copy",
            "to",
            "_to_copy",
            "type_as",
            "dropout",
            "dropout_",
            "feature_dropout",
            "alpha_dropout",
            "_assert_tensor_metadata",
        ),
        same,
    ),
    **dict.fromkeys(
        (
            "permute",
            "transpose",
            "t",
            "numpy_T",
            "mT",
            "movedim",
            "moveaxis",
            "swapaxes",
            "swapdims",
            "squeeze",
            "unsqueeze",
            "expand",
            "broadcast_to",
            "repeat",
            "tile",
            "repeat_interleave",
            "flip",
        ),
        view,
    ),
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "reshape_as", "view_as", "flatten", "unflatten"),
        reshape,
    ),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), concatenate),
    **dict.fromkeys(("slice", "narrow"), slice_),
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "tensor_split", "hsplit", "vsplit"), split
    ),
    "expand_as": expand_as,
    "unbind": unbind,
    "getitem": item,
    **dict.fromkeys(("select", "roll", "unfold", "diagonal"), literal),
    **dict.fromkeys(("index", "index_select"), index),
}
