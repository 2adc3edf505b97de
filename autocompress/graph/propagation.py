"""Labels on every activation of a traced model: which removable unit each element belongs to.

Every activation carries a label tensor of its own shape. View-like operators are simply executed
on the labels; layers start new labels for their outputs and tie the columns of their weights to
the incoming ones; element-wise operators tie their operands. A second tensor says which elements
are exactly 0 once their unit is zero. An operator without a rule fixes what it reads.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from autocompress.graph.activations import (
    ROLE_ORDER,
    Activation,
    Role,
    WeightAxis,
    fixed,
)
from autocompress.graph.constants import Constants
from autocompress.graph.labels import Labels, compact, squeezed
from autocompress.graph.nodes import (
    VIEWS,
    arguments,
    carries_labels,
    is_floating,
    is_tensor,
    mutates,
    operator_name,
    place,
)
from autocompress.graph.tracing import Trace

RAW_ELEMENTS, RAW_DIMS = 1_000_000, 3  # what is followed element by element

Rule = Callable[["Propagation", fx.Node, Mapping[str, Any]], None]
WeightView = Callable[[Any, Mapping[str, Any]], Any]


class Propagation:
    """One walk over a graph.

    Args:
        trace: the graph.
        rules: operator name (without overload) to its rule.
        weight_views: operator names that, applied to a weight, only rearrange it.
        grid_choice: which of several split dimensions keeps its units (0: the largest).
    """

    def __init__(
        self,
        trace: Trace,
        rules: Mapping[str, Rule],
        weight_views: Mapping[str, WeightView],
        *,
        grid_choice: int = 0,
    ) -> None:
        self.trace = trace
        self.labels = Labels()
        self.rules = rules
        self.weight_views = weight_views
        self.grid_choice = grid_choice
        self.had_choice = False
        self.axes: dict[tuple[str, int], Tensor] = {}
        self.roles: dict[tuple[str, int], Role] = {}
        self.elements: dict[str, Tensor] = {}
        self.layers: dict[str, str] = {}
        self.bystanders: dict[str, str] = {}
        self._states: dict[fx.Node, Activation | list[Activation]] = {}
        self._aliases: dict[fx.Node, fx.Node] = {}
        self._constants = Constants(trace)

    # -- walking -------------------------------------------------------------------------------

    def run(self) -> None:
        """Walk over the whole graph."""
        for state in self.walk(self.trace.graph):
            self.labels.fix(state.labels, "reaches the model's output")

    def walk(self, graph: fx.Graph) -> list[Activation]:
        """Walk over a graph and return the states of its outputs."""
        outputs: list[Activation] = []
        for node in graph.nodes:
            if node.op == "call_function":
                self.visit(node)
            elif node.op == "output":
                outputs = [
                    self.state(leaf)
                    for leaf in tree_leaves(node.args)
                    if isinstance(leaf, fx.Node) and is_floating(leaf)
                ]
        return outputs

    def visit(self, node: fx.Node) -> None:
        """Apply the rule of one operator."""
        name = operator_name(node)
        if name in self.weight_views and self.weight_axes(node) is not None:
            return
        if not carries_labels(node):
            if is_tensor(node):  # whole numbers or booleans: comparisons, the place of a maximum
                self.unknown(node, f"decides something in {place(node)}")
            return
        rule = self.rules.get(name)
        if rule is None:
            self.unknown(node, f"read by {name}, an operator without a rule")
        else:
            rule(self, node, arguments(node))
        if mutates(node):
            self._write_back(node)

    def unknown(self, node: fx.Node, reason: str) -> None:
        """Fix all that an operator reads; its outputs are fixed too."""
        for read in node.all_input_nodes:
            self.fix_node(read, reason)
        if mutates(node):
            for base in self._bases(node.args[0]):
                self.fix_node(base, reason)

    def fix_node(self, node: fx.Node, reason: str) -> None:
        """Fix every element of an activation, or of a list of them."""
        if not carries_labels(node):
            return
        found = self.state_or_list(node)
        for state in found if isinstance(found, list) else [found]:
            self.labels.fix(state.labels, reason)

    def _bases(self, node: Any) -> Iterable[fx.Node]:
        while isinstance(node, fx.Node) and node.op == "call_function":
            yield node
            node = node.args[0] if operator_name(node) in VIEWS and node.args else None

    def _write_back(self, node: fx.Node) -> None:
        """An in-place operator also changed what it was called on, and what that is a view of."""
        target = node.args[0]
        new = self._states.get(node)
        if not isinstance(target, fx.Node) or not isinstance(new, Activation):
            return
        if self.state(target).labels.shape == new.labels.shape:
            self._states[target] = new
        for base in list(self._bases(target))[1:]:
            old = self.state_or_list(base)
            changed = [
                Activation(state.labels, torch.zeros_like(state.zero))
                for state in (old if isinstance(old, list) else [old])
            ]
            self._states[base] = changed if isinstance(old, list) else changed[0]

    # -- states --------------------------------------------------------------------------------

    def state(self, node: fx.Node) -> Activation:
        """Return what is known of an activation; constants and inputs are fixed."""
        found = self.state_or_list(node)
        if isinstance(found, list):
            raise TypeError(f"{node} is a list of activations")
        return found

    def state_or_list(self, node: fx.Node) -> Activation | list[Activation]:
        """Return the state of an activation, or those of an operator with several results."""
        node = self.resolve(node)
        if node not in self._states:
            name = operator_name(node)
            if name in self.weight_views and self.weight_axes(node) is not None:
                self.rules[name](self, node, arguments(node))
            else:
                self._states[node] = self._source(node)
        return self._states[node]

    def _source(self, node: fx.Node) -> Activation | list[Activation]:
        value = node.meta["val"]
        if isinstance(value, list | tuple):
            return [fixed(v.shape) for v in value]
        name = self.trace.name_of(node)
        if name is None or not self.trace.is_parameter(node):
            return fixed(value.shape)
        if value.numel() > RAW_ELEMENTS or sum(n > 1 for n in value.shape) > RAW_DIMS:
            self.bystanders[name] = "read by a computation that is not a layer"
            return fixed(value.shape)
        if value.dim() == 1:  # an element is a slice: the same labels as those of a weight
            axis = WeightAxis(name, 0, value.numel(), torch.arange(value.numel()))
            labels = self.use(axis, "raw")
            return Activation(labels, torch.ones((), dtype=torch.bool).expand(value.shape))
        if name not in self.elements:
            self.elements[name] = self.labels.new(value.numel()).view(value.shape)
        return Activation(
            self.elements[name], torch.ones((), dtype=torch.bool).expand(value.shape)
        )

    def set(self, node: fx.Node, labels: Tensor, zero: Tensor) -> None:
        """Store the state of an activation; both tensors broadcast to its shape."""
        shape = node.meta["val"].shape
        self._states[node] = Activation(
            squeezed(labels.expand(shape)), squeezed(zero.expand(shape))
        )

    def set_list(self, node: fx.Node, states: list[Activation]) -> None:
        """Store the states of an operator with several results."""
        self._states[node] = [Activation(squeezed(s.labels), squeezed(s.zero)) for s in states]

    def set_fixed(self, node: fx.Node) -> None:
        """Store that nothing of an activation can be removed."""
        self._states[node] = self._source(node)

    def alias(self, inner: fx.Node, outer: fx.Node) -> None:
        """Let a sub-graph's placeholder stand for a node of the graph around it."""
        self._aliases[inner] = self.resolve(outer)

    def resolve(self, node: fx.Node) -> fx.Node:
        """Follow aliases."""
        return self._aliases.get(node, node)

    # -- weights -------------------------------------------------------------------------------

    def weight_axes(self, node: Any) -> Any:
        """Return a ``WeightAxis`` for each dimension of a weight, or None if it is computed.

        For a weight that was split it is a list of those.
        """
        if not isinstance(node, fx.Node):
            return None
        node = self.resolve(node)
        name = self.trace.name_of(node)
        if name is not None:
            shape = node.meta["val"].shape
            return tuple(WeightAxis(name, d, n, torch.arange(n)) for d, n in enumerate(shape))
        view = self.weight_views.get(operator_name(node))
        axes = self.weight_axes(node.args[0]) if view is not None and node.args else None
        return None if axes is None or view is None else view(axes, arguments(node))

    def use(self, axis: WeightAxis, role: Role) -> Tensor:
        """Return the labels along a weight's dimension, ``[size]``, and note its role."""
        key = (axis.tensor, axis.dim)
        if key not in self.axes:
            self.axes[key] = self.labels.new(axis.size)
            self.roles[key] = role
        self.roles[key] = min(self.roles[key], role, key=ROLE_ORDER.index)
        return self.axes[key][axis.index]

    # -- ties ----------------------------------------------------------------------------------

    def along(self, state: Activation, dim: int, reason: str) -> Activation:
        """Tie everything that shares an index of a dimension; return that dimension alone."""
        labels = state.labels.movedim(dim, 0).flatten(1)
        zero = compact(state.zero).expand(state.zero.shape).movedim(dim, 0).flatten(1)
        self.labels.tie(labels, labels[:, :1], reason)
        return Activation(labels[:, 0], zero.all(1))

    def read(self, state: Activation, reason: str) -> None:
        """A sum reads these elements: exact only where they are 0."""
        shape = compact(state.zero).shape
        zero = compact(state.zero).expand(
            torch.broadcast_shapes(shape, compact(state.labels).shape)  # type: ignore[no-untyped-call]
        )
        if not bool(zero.all()):
            self.labels.flag(compact(state.labels).expand(zero.shape)[~zero], reason)

    def make_grid(self, labels: Tensor) -> None:
        """Keep split axes rectangular: only one of them may lose indices, all others go along."""
        varying = sorted(
            self.labels.varying(labels), key=lambda dim: (labels.shape[dim], dim), reverse=True
        )
        if len(varying) < 2:
            return
        self.had_choice = True
        keep = varying[min(self.grid_choice, len(varying) - 1)]
        for dim in varying:
            if dim != keep:
                self.labels.tie(labels, labels.narrow(dim, 0, 1), "shares a split axis")

    def value(self, node: fx.Node) -> Any:
        """Return what depends on constants only; None for what depends on the inputs."""
        return self._constants.value(self.resolve(node))
