"""Values in a graph that do not depend on the inputs, such as tables of positions.

They are on the CPU, as labels are, wherever the model is.
"""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map_only

from autocompress.graph.tracing import Trace


class Constants:
    """Computes constant values of a traced model when they are asked for."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._values: dict[fx.Node, Any] = {}

    def value(self, node: fx.Node) -> Any:
        """Return a node's value, or None where it depends on the inputs."""
        if node not in self._values:
            self._values[node] = tree_map_only(Tensor, Tensor.cpu, self._compute(node))
        return self._values[node]

    def _compute(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            name = self._trace.name_of(node)
            if name is None:
                return self._trace.constants.get(node.name)
            return self._trace.tensors[name]
        if node.op != "call_function" or not callable(node.target):
            return None
        if any(self.value(read) is None for read in node.all_input_nodes):
            return None
        with torch.no_grad():
            args = fx.node.map_arg(node.args, self.value)
            kwargs = fx.node.map_arg(node.kwargs, self.value)
            return node.target(*args, **kwargs)
