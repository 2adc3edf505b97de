"""What model files are made with and checked against: images, and the uncompressed model."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autocompress.errors import UsageError
from autocompress.targets.programs import Batch

Labelled = Iterable[tuple[Tensor, Tensor]]
"""Batches of normalised images [n, channels, height, width] and labels [n]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How the latency of model files is measured.

    Attributes:
        batch_size: images per call.
        threads: of the CPU.
        budget_s: seconds for each file.
    """

    batch_size: int = 1
    threads: int = 1
    budget_s: float = 2.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model file that was made and judged before.

    Attributes:
        content: of the file.
        accuracy: that it had on the validation set, in [0, 1].
        batch: the batch sizes that it runs.
    """

    content: bytes
    accuracy: float
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What model files are made with and checked against.

    Attributes:
        validation: the whole validation set, at least two images; gone through once.
        calibration: batches of normalised training images [n, channels, height, width], all of
            which formats in 8 bits learn from; gone through once, and only for those.
        measured: files by the name of their format, which are shipped as they are.
        baseline: the uncompressed model, which is timed beside the files; None: only they are.
        timing: how latency is measured.
    """

    validation: Labelled
    calibration: Iterable[Tensor] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)
    baseline: nn.Module | None = None
    timing: Timing = field(default_factory=Timing)


def plain(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor of the base class on the CPU, with memory of its own."""
    return tensor.detach().as_subclass(Tensor).cpu().contiguous().clone()


def write_validation(model: nn.Module, batches: Labelled, folder: Path, count: int) -> Tensor:
    """Store the validation set with the model's outputs, batch by batch.

    Returns:
        the first ``count`` images, or as many as there are.

    Raises:
        UsageError: there are fewer than two.
    """
    example = torch.empty(0)
    for number, (images, labels) in enumerate(batches):
        images, labels = plain(images), plain(labels)
        with torch.no_grad():
            outputs = plain(model(images))
        part = {"images": images, "labels": labels, "outputs": outputs}
        save_file(part, folder / f"{number:06d}.safetensors")
        example = torch.cat([example, images[: count - len(example)]])
    if len(example) < 2:
        raise UsageError(f"expected at least 2 validation images, not {len(example)}")
    return example
