"""A target is a value: it prepares a model for a device and runtime, opens it there, times it.

Statistics run on this machine, whatever the target: a session only returns the times of blocks
of calls, so that a device behind a connection is measured like this one.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from autocompress.results import Fingerprint
from autocompress.targets.statistics import Calls


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
        """Make that many consecutive calls on the example, and return their durations.

        Nothing is dropped and nothing summarised: warming up, statistics and intervals are made
        of these numbers by the caller.
        """

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

    @property
    def name(self) -> str:
        """Return a short name."""

    @property
    def batch_size(self) -> int:
        """Return how many inputs a call has."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return what it can run."""

    @property
    def quick(self) -> bool:
        """Return whether preparing and opening a model takes a second at most."""

    def check(self) -> None:
        """Raise ``ConfigurationError`` where it cannot be used here."""

    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> Artifact:
        """Make what is deployed of a network in evaluation mode, which is not changed.

        Args:
            model: on the device of ``example``.
            precision: one of ``precisions``.
            example: inputs ``[n, ...]``, at least one.
            calibration: batches of training inputs, from which ``"int8"`` learns the ranges of
                activations; it is not touched for other precisions.

        Raises:
            ConfigurationError: the target does not run the precision, or not this model.
        """

    def open(self, artifact: Artifact, example: Tensor) -> Session:
        """Make an artifact ready; ``example``, ``[batch_size, ...]``, is what ``time`` runs on.

        Raises:
            ConfigurationError: the example has another batch size, or the artifact does not run
                here.
        """

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the device alone, for a measurement."""

    def fingerprint(self) -> Fingerprint:
        """Return the hardware and software that its latencies depend on, as plain data."""
