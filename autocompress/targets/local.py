"""What targets on this machine share: their settings, the device, its lock and its facts."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean
from autocompress.results import Fingerprint
from autocompress.targets.cores import cpu_threads
from autocompress.targets.fingerprint import local_facts
from autocompress.targets.lock import DeviceLock
from autocompress.targets.sampling import TimedCalls
from autocompress.targets.statistics import Calls
from autocompress.targets.target import Artifact, Session

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class LocalTarget(ABC):
    """A runtime on this machine.

    A subclass says how a model is prepared and opened. It becomes usable in study files by
    ``TARGETS.register``.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where there is one.
        threads: of the CPU, at least 1.
        batch_size: inputs per call, at least 1.
        channels_last: lay images and convolutions out with their channels last.
        runtime: its name, in titles and fingerprints.
        quick: whether a model is prepared and opened within a second.

    Raises:
        ConfigurationError: settings are out of range; all of them are named.
    """

    device: str = "auto"
    threads: int = 1
    batch_size: int = 1
    channels_last: bool = False

    runtime: ClassVar[str]
    quick: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checks = {
            f"device: expected one of {', '.join(DEVICES)}, not {self.device!r}"
            f"{did_you_mean(self.device, DEVICES)}": self.device in DEVICES,
            f"threads: expected at least 1, not {self.threads}": self.threads >= 1,
            f"batch_size: expected at least 1, not {self.batch_size}": self.batch_size >= 1,
        }
        problems = [problem for problem, passed in checks.items() if not passed]
        if problems:
            raise ConfigurationError(problems)

    @property
    def name(self) -> str:
        """Return runtime and device: ``"onnxruntime on cpu"``."""
        return f"{self.runtime} on {self.torch_device().type}"

    @property
    @abstractmethod
    def precisions(self) -> tuple[str, ...]:
        """Return what it can run, of ``"fp32"``, ``"fp16"`` and ``"int8"``."""

    @abstractmethod
    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> Artifact:
        """Make what is deployed; see :meth:`Target.prepare`."""

    @abstractmethod
    def open(self, artifact: Artifact, example: Tensor) -> Session:
        """Make an artifact ready; see :meth:`Target.open`."""

    def torch_device(self) -> torch.device:
        """Return the device.

        Raises:
            ConfigurationError: it is ``"cuda"`` and there is none.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigurationError("device 'cuda': PyTorch finds no CUDA device here")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def check(self) -> None:
        """Check that this machine has the device, and what the runtime needs.

        Raises:
            ConfigurationError: it has not.
        """
        self.torch_device()

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the device alone; training and other measurements on it wait meanwhile."""
        return DeviceLock(self.torch_device()).exclusive()

    def fingerprint(self) -> Fingerprint:
        """Return what latencies depend on, here and now, as plain data.

        Raises:
            ConfigurationError: the device is not available.
        """
        return {
            **local_facts(self.torch_device()),
            "runtime": self.runtime,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "channels_last": self.channels_last,
        }


@dataclass
class LocalSession:
    """A model that is ready on this machine.

    Attributes:
        outputs_of: from inputs of any batch size, on any device, to outputs on the same.
        timed: makes timed calls on the example.
        threads: of the CPU.
    """

    outputs_of: Callable[[Tensor], Any] | None = field(repr=False)
    timed: TimedCalls | None = field(repr=False)
    threads: int

    def run(self, inputs: Tensor) -> Any:
        """Return the outputs for a batch of any size, without gradients."""
        if self.outputs_of is None:
            raise ValueError("the session is closed")
        with torch.no_grad():
            return self.outputs_of(inputs)

    def time(self, calls: int) -> Calls:
        """Make consecutive calls on the example with the target's threads; time each."""
        if self.timed is None:
            raise ValueError("the session is closed")
        with cpu_threads(self.threads):
            return self.timed(calls)

    def close(self) -> None:
        """Let go of the model."""
        self.outputs_of = self.timed = None


def placed(
    model: nn.Module, example: Tensor, device: torch.device, *, channels_last: bool
) -> tuple[nn.Module, Tensor]:
    """Copy a model, in evaluation mode, and its inputs to a device and memory layout.

    Raises:
        ConfigurationError: channels come last and the inputs are no images.
    """
    if channels_last and example.ndim != 4:
        raise ConfigurationError(
            "channels_last needs inputs [batch, channels, height, width], not shape "
            f"{list(example.shape)}"
        )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    own = copy.deepcopy(model).eval().to(device)
    inputs = example.detach().to(device).contiguous(memory_format=layout)
    return own.to(memory_format=layout), inputs  # training may have left another


def require_batch_size(example: Tensor, expected: int) -> None:
    """Check the example that calls are timed on.

    Raises:
        ConfigurationError: it has another batch size.
    """
    if example.ndim == 0 or len(example) != expected:
        raise ConfigurationError(
            f"expected {expected} example inputs (batch_size), not shape {list(example.shape)}"
        )
