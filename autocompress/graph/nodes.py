"""What a node of an exported graph is: its operator, its arguments, its place in the model."""

from typing import Any

from torch import Tensor, fx

from autocompress.graph.tracing import module_of

VIEWS = frozenset(
    {
        "_unsafe_view",
        "alias",
        "chunk",
        "detach",
        "diagonal",
        "expand",
        "expand_as",
        "flatten",
        "getitem",
        "movedim",
        "narrow",
        "permute",
        "reshape",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unflatten",
        "unfold",
        "unsqueeze",
        "view",
        "view_as",
    }
)  # operators whose result may share its memory with what they read


def is_floating(node: Any) -> bool:
    """Return whether a node is an activation or weight with floating-point values."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return isinstance(value, Tensor) and value.is_floating_point()


def carries_labels(node: fx.Node) -> bool:
    """Return whether a node has, or writes to, floating-point values."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return any(isinstance(v, Tensor) and v.is_floating_point() for v in value)
    return is_floating(node) or (mutates(node) and is_floating(node.args[0]))


def is_tensor(node: Any) -> bool:
    """Return whether a node is one tensor of any type."""
    return isinstance(node, fx.Node) and isinstance(node.meta.get("val"), Tensor)


def mutates(node: fx.Node) -> bool:
    """Return whether an operator works in place."""
    return operator_name(node).endswith("_") and bool(node.args)


def operator_name(node: fx.Node) -> str:
    """Return an operator's name without namespace and overload: ``conv2d``, ``getitem``."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).split("::")[-1]
    return str(getattr(node.target, "__name__", node.target))


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return an operator's arguments by the names of its schema, defaults included."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {**{str(i): arg for i, arg in enumerate(node.args)}, **node.kwargs}
    names = [a.name for a in schema.arguments]
    bound: dict[str, Any] = {a.name: a.default_value for a in schema.arguments}
    bound.update(zip(names, node.args, strict=False))
    bound.update(node.kwargs)
    return bound


def place(node: fx.Node) -> str:
    """Return where in the model an operator stands, for reasons: ``layer1.0 (add)``."""
    return f"{module_of(node) or 'the model'} ({operator_name(node)})"
