"""Sub-graphs: what runs under autocast or another gradient mode is walked like the rest."""

from collections.abc import Mapping
from typing import Any

from torch import fx

from autocompress.graph.nodes import is_floating, place
from autocompress.graph.propagation import Propagation, Rule

Arguments = Mapping[str, Any]


def region(p: Propagation, node: fx.Node, _: Arguments) -> None:
    """Walk over a sub-graph with the states of its arguments."""
    position = next(
        (
            number
            for number, arg in enumerate(node.args)
            if isinstance(arg, fx.Node) and arg.op == "get_attr"
        ),
        None,
    )
    if position is None:
        p.unknown(node, f"a sub-graph that cannot be read in {place(node)}")
        return
    attribute = node.args[position]
    assert isinstance(attribute, fx.Node)
    module = node.graph.owning_module
    inner = getattr(module, str(attribute.target)) if module is not None else None
    if not isinstance(inner, fx.GraphModule):
        p.unknown(node, f"a sub-graph that cannot be read in {place(node)}")
        return
    placeholders = [n for n in inner.graph.nodes if n.op == "placeholder"]
    for name, value in zip(placeholders, node.args[position + 1 :], strict=True):
        if isinstance(value, fx.Node):
            p.alias(name, value)
    states = p.walk(inner.graph)
    if is_floating(node):
        p.set(node, states[0].labels, states[0].zero)
    else:
        p.set_list(node, states)


RULES: Mapping[str, Rule] = dict.fromkeys(
    ("wrap_with_autocast", "wrap_with_set_grad_enabled"), region
)
