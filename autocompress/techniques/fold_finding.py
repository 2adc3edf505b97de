"""Which batch norms fold into which layers: a walk from each norm along the edges of the graph."""

from collections import Counter

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from autocompress.graph.folds import pads_with_zeros
from autocompress.graph.plan import Fold
from autocompress.graph.tracing import Trace, module_of
from autocompress.techniques.layers import shares_tensors

LAYERS = {
    *("conv1d", "conv2d", "conv3d", "linear"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
}
NORMS = {"batch_norm"}
SAME_VALUES = {"dropout", "dropout_", "feature_dropout", "alpha_dropout", "clone", "contiguous"}
MIRRORING = ("reflect", "replicate", "circular")
SHAPE_OF_SECOND = {"reshape_as", "view_as", "expand_as"}


def find_folds(model: nn.Module, graph: Trace) -> tuple[tuple[Fold, ...], dict[str, str]]:
    """Return the foldings that are exact, in order, and why each other batch norm stays.

    Args:
        model: the model.
        graph: its trace.
    """
    finder = _Finder(model, graph)
    for node in finder.norms():
        finder.visit(node)
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not finder.knows(name):
            finder.kept[name] = "the forward pass in eval mode does not reach it"
    return tuple(finder.steps), finder.kept


class _CannotFoldError(Exception):
    """Carries the reason why something does not fold."""


class _Finder:
    """Walks from each batch norm to the layers beside it."""

    def __init__(self, model: nn.Module, graph: Trace) -> None:
        self.steps: list[Fold] = []
        self.kept: dict[str, str] = {}
        self._model, self._trace, self._sharing = model, graph, shares_tensors(model)
        self._folded: set[fx.Node] = set()  # norms that will be gone: values pass through them
        nodes = graph.graph.nodes
        self._calls = Counter(module_of(n) for n in nodes if n.op == "call_function")

    def norms(self) -> list[fx.Node]:
        """Return all batch-norm operations, in execution order."""
        return [node for node in self._trace.graph.nodes if _operator(node) in NORMS]

    def knows(self, name: str) -> bool:
        """Return whether a norm is folded or kept."""
        return name in self.kept or any(step.norm == name for step in self.steps)

    def visit(self, node: fx.Node) -> None:
        """Fold one batch norm, or note why it stays."""
        name = module_of(node)
        try:
            self._check_norm(name, node)
            self.steps += self._steps_for(name, node)
        except _CannotFoldError as reason:
            self.kept[name] = str(reason)
        else:
            self._folded.add(node)

    def _check_norm(self, name: str, node: fx.Node) -> None:
        """Raise unless the node is all that a batch norm's module does, in its one call."""
        _, weight, bias, mean, variance, training = node.args[:6]
        if training or mean is None or variance is None:
            raise _CannotFoldError(
                "it normalises by the statistics of the batch, in eval mode too"
            )
        module = self._model.get_submodule(name)
        if not isinstance(module, _BatchNorm) or not self._is(module.running_mean, mean):
            raise _CannotFoldError("its tensors are read outside their module")
        tensors = [t for t in (weight, bias, mean, variance) if isinstance(t, fx.Node)]
        if any(len(tensor.users) > 1 for tensor in tensors):
            raise _CannotFoldError("it runs more than once")
        if self._calls[name] > 1:
            raise _CannotFoldError("its module does more than to normalise")

    def _steps_for(self, norm: str, node: fx.Node) -> list[Fold]:
        try:
            return [Fold(self._layer_before(node), norm)]
        except _CannotFoldError as before:
            try:
                layers = self._layers_after(node)
            except _CannotFoldError as after:
                raise _CannotFoldError(f"{before}, and {after}") from None
        return [
            Fold(layer, norm, "before", remove_norm=number == len(layers) - 1)
            for number, layer in enumerate(layers)
        ]

    def _layer_before(self, norm: fx.Node) -> str:
        """Return the layer whose output only this norm reads."""
        reader, node = norm, norm.all_input_nodes[0]
        while _value_readers(node) == [reader]:
            if _operator(node) in LAYERS:
                return self._layer_with_axis(node, norm)
            if not self._passes_on(node):
                raise _CannotFoldError(f"it reads {_describe(node)}, not a layer")
            reader, node = node, node.all_input_nodes[0]
        raise _CannotFoldError(f"it is not alone in reading {_describe(node)}")

    def _layer_with_axis(self, node: fx.Node, norm: fx.Node) -> str:
        """Return a layer's name, if its outputs are what the norm takes for channels."""
        name = self._layer(node)
        layer = self._model.get_submodule(name)
        dims = len(layer.kernel_size) + 2 if isinstance(layer, _ConvNd) else 2
        if len(_shape(norm)) != dims:
            raise _CannotFoldError(f"it normalises another axis than the outputs of {name}")
        return name

    def _layers_after(self, norm: fx.Node) -> list[str]:
        """Return the layers that read this norm, if nothing else does."""
        layers: list[str] = []
        ahead = _value_readers(norm)
        while ahead:
            node = ahead.pop(0)
            if _same_by_channel(node):
                ahead += _value_readers(node)
            elif _operator(node) in LAYERS:
                layers.append(self._layer(node))
                self._check_sees_shift(layers[-1], node)
            else:
                raise _CannotFoldError(f"its output goes to {_describe(node)}, not to layers only")
        if not layers:
            raise _CannotFoldError("no layer reads it")
        return layers

    def _passes_on(self, node: fx.Node) -> bool:
        """Return whether a node's values are its input's, channel by channel."""
        if node in self._folded or _same_by_channel(node):
            return True
        shapes = [_shape(node), _shape(node.all_input_nodes[0])] if node.all_input_nodes else []
        return (
            _operator(node) in {"view", "reshape", "flatten"}
            and len(shapes[0]) == 2  # the batch norm after it normalises the last axis
            and shapes[0][-1] == shapes[1][-1]
            and _operator(node.all_input_nodes[0]) == "linear"
        )

    def _layer(self, node: fx.Node) -> str:
        """Return the name of the module that is a layer's only user and does its one call."""
        name = module_of(node)
        module = self._model.get_submodule(name)
        weight = node.args[1]
        if not isinstance(module, _ConvNd | nn.Linear) or not self._is(module.weight, weight):
            raise _CannotFoldError(
                f"the weight of {name or 'the layer'} is computed, or not its own"
            )
        if module in self._sharing:
            raise _CannotFoldError(f"{name} shares its tensors with another layer")
        if isinstance(weight, fx.Node) and len(weight.users) > 1:
            raise _CannotFoldError(f"{name} runs more than once")
        return name

    def _check_sees_shift(self, name: str, node: fx.Node) -> None:
        """Raise unless a layer reads channels, and the shift of the norm before it everywhere."""
        layer = self._model.get_submodule(name)
        if isinstance(layer, _ConvNd) and (layer.transposed or pads_with_zeros(layer)):
            raise _CannotFoldError(
                f"{name} sees zeros at the border that the norm has not shifted"
            )
        if isinstance(layer, nn.Linear) and len(_shape(node)) != 2:
            raise _CannotFoldError(f"{name} does not read its channels")

    def _is(self, tensor: object, node: object) -> bool:
        """Return whether a node stands for this very tensor of the model."""
        name = self._trace.name_of(node)
        return name is not None and self._trace.tensors[name] is tensor


def _operator(node: fx.Node) -> str:
    """Return the name of an ATen operator without its overload, else an empty string."""
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).partition("::")[2]


def _same_by_channel(node: fx.Node) -> bool:
    """Return whether a node's values are all its input's, each in its own channel."""
    mirrors = _operator(node) == "pad" and node.args[2:3] in [(mode,) for mode in MIRRORING]
    return mirrors or _operator(node) in SAME_VALUES


def _value_readers(node: fx.Node) -> list[fx.Node]:
    """Return the nodes that read a node's values; some read its shape only."""
    return [
        reader
        for reader in node.users
        if not (_operator(reader) in SHAPE_OF_SECOND and reader.args[0] is not node)
    ]


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))


def _describe(node: fx.Node) -> str:
    module = module_of(node)
    what = _operator(node) or node.op
    return f"{what} in {module}" if module else what
