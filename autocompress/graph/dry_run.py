"""A forward pass without numbers, after a removal: where does it fail?"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from autocompress.errors import UsageError
from autocompress.graph.removal import Choice, removal
from autocompress.graph.surgery import remove
from autocompress.graph.tracing import Inputs, as_arguments, named_tensors

FORWARD_ERRORS = (  # what a forward pass raises when sizes don't fit
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    UsageError,
)


@dataclass(frozen=True)
class Failure:
    """A forward pass that failed: the innermost module it was in, and what it said."""

    module: str
    message: str


class DryRun:
    """Removes units from copies of a model without data and runs them on fake tensors.

    Attributes:
        model: a copy of the model whose tensors are on the meta device.
    """

    def __init__(self, model: nn.Module, example_inputs: Inputs) -> None:
        """Copy the modules of a model; its tensors are only looked at."""
        self._devices = {name: t.device for name, t in named_tensors(model).items()}
        empty = {id(t): _without_data(t) for t in named_tensors(model).values()}
        self.model = copy.deepcopy(model, memo=empty).eval()
        self.inputs = as_arguments(example_inputs)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._fakes: dict[tuple[object, ...], Tensor] = {}

    def failure(self, choices: Sequence[Choice]) -> Failure | None:
        """Remove units and run the forward pass; return where it fails, if it does."""
        copied = copy.deepcopy(self.model)
        running: list[str] = []
        try:
            remove(copied, removal(copied, choices))
            with _quiet(), self._mode, torch.no_grad():
                self._fill(copied)
                _note_running(copied, running)
                copied(*tree_map(lambda x: _faked(self._mode, x), self.inputs))
        except FORWARD_ERRORS as error:
            return Failure(running[-1] if running else "", first_line(error))
        return None

    def _fill(self, model: nn.Module) -> None:
        """Replace meta tensors by fake ones on the devices of the original (in place)."""
        names = {id(t): name for name, t in named_tensors(model).items()}
        for module in model.modules():
            for table in (module._parameters, module._buffers):
                for key, old in table.items():
                    if old is not None:
                        fake = self._fake(old, self._devices[names[id(old)]])
                        table[key] = fake  # type: ignore[assignment]

    def _fake(self, tensor: Tensor, device: torch.device) -> Tensor:
        """Return one fake tensor for all of the same kind: it has no values to mix up."""
        kind = (tensor.shape, tensor.dtype, device, isinstance(tensor, nn.Parameter))
        if kind not in self._fakes:
            self._fakes[kind] = _like(tensor, device)
        return self._fakes[kind]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from logging operations that fail, as they may here."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _without_data(tensor: Tensor) -> Tensor:
    empty = tensor.detach().to("meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def _like(tensor: Tensor, device: torch.device) -> Tensor:
    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    return nn.Parameter(fake, requires_grad=False) if isinstance(tensor, nn.Parameter) else fake


def _faked(mode: FakeTensorMode, value: object) -> object:
    return mode.from_tensor(value) if isinstance(value, Tensor) else value


def _note_running(model: nn.Module, running: list[str]) -> None:
    """Keep the names of the modules that are running in a list (hooks stay on the model)."""
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda _m, _a, name=name: running.append(name))
        module.register_forward_hook(lambda _m, _a, _o: _drop_last(running))


def _drop_last(running: list[str]) -> None:
    running.pop()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
