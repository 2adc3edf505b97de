"""Data is a value: three splits as batches of inputs and targets, on the training device."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Batch = tuple[Tensor, Any]
"""Inputs ``[batch, ...]`` as the model receives them, and targets as the task does."""


class Loader(Protocol):
    """Yields batches; each iteration starts anew."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __len__(self) -> int: ...


@runtime_checkable
class Data(Protocol):
    """Three splits of a data set.

    Attributes:
        device: where batches are delivered, and training runs.
        example: a few inputs of ``valid`` on the device, at least two.
        valid: what the search sees, in order.
        test: opened at the end, in order.
        sizes: number of items in ``train``, ``valid`` and ``test``.
    """

    device: torch.device
    example: Tensor

    @property
    def valid(self) -> Loader:
        """Validation batches, in order."""

    @property
    def test(self) -> Loader:
        """Test batches, in order."""

    @property
    def sizes(self) -> dict[str, int]:
        """Number of items by split."""

    def train(self, seed: int) -> Loader:
        """Return training batches whose order and augmentation derive from ``seed`` alone."""

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield inputs of about ``count`` training items, always the same.

        They are not augmented, unless the user's own loader does it.
        """

    def fingerprint(self) -> str:
        """Return a sha256 that changes where the content of a split changes."""

    def describe(self) -> dict[str, Any]:
        """Return plain facts for model cards and ``plan``: names of classes, shapes."""
