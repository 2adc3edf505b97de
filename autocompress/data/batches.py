"""What all kinds of data share: settings of batches, and the example."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autocompress.data.protocol import Data, Loader
from autocompress.errors import ConfigurationError

EXAMPLE = 4  # inputs in an example
CALIBRATION_SEED = 0  # of the choice of training items for calibration


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How items become batches.

    Attributes:
        batch_size: items per batch, at least 1.
        augmentation: what happens to training images: a name of ``AUGMENTATIONS`` for images in
            memory, of ``FILE_AUGMENTATIONS`` for files.
    """

    batch_size: int = 64
    augmentation: str = "none"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigurationError(f"batch_size: expected at least 1, not {self.batch_size}")


def default_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def example_of(loader: Loader) -> Tensor:
    """Return up to four inputs of the first batch; of more batches where it has one item only.

    The only item of a split comes twice: an example has two inputs at least.
    """
    found: list[Tensor] = []
    for inputs, _ in loader:
        found.append(inputs[:EXAMPLE].as_subclass(Tensor))
        if sum(map(len, found)) > 1:
            break
    if not found:
        raise ConfigurationError("valid: expected at least 1 batch, not 0")
    together = torch.cat(found)
    return (together if len(together) > 1 else together.repeat_interleave(2, 0))[:EXAMPLE].clone()


def in_short(data: Data, sizes: Mapping[str, int]) -> str:
    """Return what data is, in one line.

    Args:
        data: what is described.
        sizes: number of items by split, where they are known.
    """
    counts = ", ".join(f"{count} {name}" for name, count in sizes.items())
    return f"<{type(data).__name__}: {counts}; inputs {list(data.example.shape[1:])}>"
