"""A target is a value: it prepares a model for a device and runtime, opens it there, times it.

Statistics run on this machine, whatever the target: a session only returns the times of blocks
of calls, so that a device behind a connection is measured like this one.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from autocompress.measurement.statistics import Calls


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A deployed model, before it is opened.

    Attributes:
        content: a network, or the bytes of a file.
        format: ``"module"``, ``"onnx"``, ...: what ``content`` is.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        size_bytes: of the weights of a network, or of the whole file.
    """

    content: nn.Module | bytes
    format: str
    precision: str
    size_bytes: int


class Session(Protocol):
    """A model that is ready to run on the target."""

    def run(self, inputs: Tensor) -> Any:
        """Return the outputs for a batch of any size, as the task receives them."""

    def time(self, calls: int) -> Calls:
        """Make that many consecutive calls on the example, and return their durations."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class Target(Protocol):
    """Device, runtime, threads and batch size that latency is measured with.

    Attributes:
        name: short, for titles: ``"onnxruntime on cpu"``.
        batch_size: inputs per call.
        precisions: what it can run, of ``"fp32"``, ``"fp16"`` and ``"int8"``.
        quick: whether preparing a model takes a second at most, so that untrained candidates are
            worth measuring.
    """

    name: str
    batch_size: int
    precisions: tuple[str, ...]
    quick: bool

    def check(self) -> None:
        """Raise ``ConfigurationError`` where it cannot be used here."""

    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> Artifact:
        """Make what is deployed of a network in evaluation mode, which is not changed."""

    def open(self, artifact: Artifact, example: Tensor) -> Session:
        """Make an artifact ready; ``example`` is what ``time`` runs on."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the device alone, for a measurement."""

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the hardware and software that its latencies depend on, as plain data."""
