"""What is asked of a model before anything is trained on it, each in the user's terms."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from autocompress.data import Data
from autocompress.errors import ConfigurationError
from autocompress.tasks import Task
from autocompress.training.layout import try_training

SAME = 1e-3  # outputs of one input may differ by this fraction of the largest, as kernels round


def check_model(model: nn.Module, data: Data, task: Task) -> Any:
    """Run one batch through a model, forward and backward, and return its outputs.

    Args:
        model: put into eval mode, on the device of the data.
        data: its first validation batch is taken.
        task: knows what outputs must look like.

    Raises:
        ConfigurationError: the inputs don't fit the model, its outputs don't fit the task, it is
            no function of its inputs alone, or it can't be trained.
    """
    _check_parameters(model)
    inputs, targets = next(iter(data.valid))
    count = len(data.example)
    inputs, targets = inputs[:count].as_subclass(Tensor), _first(targets, count)
    model.to(data.device).eval()
    outputs = check_call(model, inputs.clone())
    if task.check is not None:
        try:
            task.check(outputs, targets)
        except ValueError as error:
            raise ConfigurationError(f"for {_shape(inputs)}: {error}") from error
    _check_function(model, inputs, outputs)
    try:
        try_training(model, data.example, torch.preserve_format)
    except Exception as error:
        raise ConfigurationError(
            f"the model cannot be trained: {type(error).__name__}: {error}"
        ) from error
    return outputs


def check_call(model: nn.Module, inputs: Tensor) -> Any:
    """Run a batch through a model, and return its outputs.

    Args:
        model: in eval mode, on the device of the inputs.
        inputs: ``[batch, ...]``.

    Raises:
        ConfigurationError: there is no room for so many, or the model does not run them.
    """
    try:
        with torch.no_grad():
            return model(inputs)
    except Exception as error:
        raise ConfigurationError(
            f"{_shape(inputs)} of the data do not fit the model: {type(error).__name__}: {error}"
        ) from error


def check_same_structure(model: nn.Module, again: nn.Module) -> None:
    """Check that a function builds the same network each time.

    Raises:
        ConfigurationError: parameters or buffers differ in name or shape.
    """
    first, second = _shapes(model), _shapes(again)
    if first != second:
        name = next(n for n in first | second if first.get(n) != second.get(n))
        raise ConfigurationError(
            f"the function builds another network each time: {name} is {first.get(name)}, then "
            f"{second.get(name)}; seed what it draws"
        )


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def _check_parameters(model: nn.Module) -> None:
    parameters = list(model.parameters())
    if any(is_lazy(parameter) for parameter in parameters):
        raise ConfigurationError(
            "the model has lazy layers, whose sizes are not known yet; run it once on some inputs"
        )
    if not parameters:
        raise ConfigurationError("the model has no parameters, so there is nothing to compress")
    if not any(parameter.requires_grad for parameter in parameters):
        raise ConfigurationError(
            "no parameter of the model can be trained: requires_grad is False for all; call "
            "model.requires_grad_(True)"
        )


def _check_function(model: nn.Module, inputs: Tensor, outputs: Any) -> None:
    """Check that a model is a function of each of its inputs, as exact steps and timings need."""
    if not all(bool(leaf.isfinite().all()) for leaf in _numbers(outputs)):
        raise ConfigurationError(
            "the outputs of the model are infinite or no numbers (NaN): look at its weights"
        )
    given = inputs.clone()
    again = check_call(model, given)
    if not given.equal(inputs):
        raise ConfigurationError(
            "the model changes its inputs in place; let its forward work on a copy"
        )
    if not _agree(outputs, again):
        raise ConfigurationError(
            "the model gives other outputs for the same inputs in evaluation mode: it draws "
            "random numbers, or changes its own state; let it do so in training mode alone"
        )
    alone = check_call(model, inputs[:1].clone())
    firsts = [leaf[:1] if _is_batch(leaf, len(inputs)) else leaf for leaf in _numbers(outputs)]
    if not _agree(firsts, alone):
        raise ConfigurationError(
            "the model gives other outputs for one input alone than for the same input in a "
            "batch; each input must be handled by itself in evaluation mode"
        )


def _agree(outputs: Any, others: Any) -> bool:
    first, second = _numbers(outputs), _numbers(others)
    return len(first) == len(second) and all(map(_alike, first, second))


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    scale = float(one.abs().max()) if one.numel() else 0.0
    return bool(((one - other).abs() <= SAME * scale).all())


def _numbers(outputs: Any) -> list[Tensor]:
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return [leaf for leaf in leaves if leaf.is_floating_point()]


def _is_batch(leaf: Tensor, count: int) -> bool:
    return leaf.ndim > 0 and len(leaf) == count


def _first(targets: Any, count: int) -> Any:
    return targets[:count] if isinstance(targets, Tensor) else targets


def _shape(inputs: Tensor) -> str:
    return f"inputs {list(inputs.shape)}"
