"""The graph of a model as ``torch.export`` sees it, with the model's own parameter names."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from autocompress.errors import UsageError
from autocompress.graph.elastic import make_all_elastic

Inputs = Tensor | tuple[Any, ...]


@dataclass(frozen=True)
class Trace:
    """The ATen graph of a model in eval mode.

    Attributes:
        program: the exported program; its placeholders are tensors of the model and the inputs.
        names: placeholder name to the canonical name (the first of tied ones) of the parameter or
            buffer it stands for, as in ``model.named_parameters()`` and ``model.named_buffers()``.
        tensors: canonical name to the model's own tensor (shared with the model, not a copy).
        constants: placeholder name to a tensor that the forward pass creates itself.
    """

    program: ExportedProgram
    names: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]

    @property
    def graph(self) -> fx.Graph:
        """The nodes in execution order: placeholders, ATen calls and one output."""
        graph: fx.Graph = self.program.graph
        return graph

    def name_of(self, node: object) -> str | None:
        """Return the canonical name of the parameter or buffer that a node stands for, if any."""
        if isinstance(node, fx.Node) and node.op == "placeholder":
            return self.names.get(node.name)
        return None

    def is_parameter(self, node: object) -> bool:
        """Return whether a node stands for an ``nn.Parameter`` of the model."""
        name = self.name_of(node)
        return name is not None and isinstance(self.tensors[name], nn.Parameter)


def module_of(node: fx.Node) -> str:
    """Return the name of the innermost module whose forward pass made a node ("" is the model)."""
    stack = node.meta.get("nn_module_stack") or {}
    path = [entry[0] for entry in stack.values()]
    return str(path[-1]) if path else ""


def canonical_names(model: nn.Module) -> dict[str, str]:
    """Map every parameter and buffer name, tied ones included, to the first name of its tensor."""
    first: dict[int, str] = {}
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {name: first.setdefault(id(tensor), name) for name, tensor in named}


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers under their canonical names."""
    return {**dict(model.named_buffers()), **dict(model.named_parameters())}


def shared_copy(model: nn.Module) -> nn.Module:
    """Copy the modules of a model, in eval mode; parameters and buffers stay the model's own."""
    tensors = {id(t): t for t in named_tensors(model).values()}
    return copy.deepcopy(model, memo=tensors).eval()


def check_copyable(model: nn.Module) -> None:
    """Raise where a hook computes a weight, as old ways to prune and to normalise weights do.

    Raises:
        UsageError: names the tensor, and says what to do.
    """
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                where = f"{name}.{key}".removeprefix(".")
                raise UsageError(
                    f"{where} is computed by a hook before each call, and cannot be copied: make "
                    "it permanent first (torch.nn.utils.prune.remove, remove_weight_norm), or use "
                    "torch.nn.utils.parametrizations"
                )


def as_arguments(inputs: Inputs) -> tuple[Any, ...]:
    """Return the positional arguments of a model's forward pass."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def trace(model: nn.Module, example_inputs: Inputs) -> Trace:
    """Export the graph of a model; the model itself stays as it is.

    Args:
        model: the model; it is traced in eval mode, without gradients.
        example_inputs: a batch as the model takes it, ``[batch, channels, height, width]``, or a
            tuple of all positional arguments.

    Raises:
        UsageError: the inputs don't fit the model, or ``torch.export`` cannot trace it.
    """
    check_copyable(model)
    arguments = as_arguments(example_inputs)
    copied = shared_copy(model)
    _check_forward(copied, arguments)
    make_all_elastic(copied)
    with torch.no_grad():
        try:
            program = torch.export.export(copied, arguments, strict=False)
        except Exception as error:
            raise UsageError(
                f"torch.export cannot trace {type(model).__name__}: {_first_line(error)}"
            ) from error
    return _named(program, model)


def _check_forward(model: nn.Module, arguments: tuple[Any, ...]) -> None:
    try:
        with torch.no_grad():
            model(*arguments)
    except Exception as error:
        shapes = ", ".join(
            str(list(a.shape)) if isinstance(a, Tensor) else repr(a) for a in arguments
        )
        raise UsageError(
            f"{type(model).__name__} cannot take the example inputs {shapes}: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _named(program: ExportedProgram, model: nn.Module) -> Trace:
    canonical = canonical_names(model)
    tensors = named_tensors(model)
    names: dict[str, str] = {}
    constants: dict[str, Tensor] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.target in canonical:
            names[spec.arg.name] = canonical[spec.target]
        elif spec.kind is not InputKind.USER_INPUT and spec.target in program.constants:
            constants[spec.arg.name] = program.constants[spec.target]
    return Trace(program, names, tensors, constants)
