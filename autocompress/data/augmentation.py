"""What happens to training images: for images in memory on the device, and names for files."""

import torch
from torch import Tensor

from autocompress.registry import by_name

REACH = 8  # images move by up to this fraction of their side: an eighth


def none(images: Tensor, generator: torch.Generator) -> Tensor:
    """Leave images as they are."""
    return images


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to an eighth of its side in both directions.

    Pixels that come in from outside are 0, the mean of the training split.
    """
    rows, columns = _shifts(images, generator)
    return _moved(images, rows, columns)


def shift_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move images as ``shift`` does, and mirror half of them left to right."""
    rows, columns = _shifts(images, generator)
    mirrored = torch.randint(0, 2, (len(images), 1), generator=generator).to(images.device).bool()
    return _moved(images, rows, torch.where(mirrored, columns.flip(1), columns))


AUGMENTATIONS = by_name("augmentation of images in memory", none, shift, shift_flip)
"""From normalised images ``[n, channels, height, width]`` and a CPU generator to new ones."""


def _shifts(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which rows and columns of the padded images are kept, ``[n, side]`` each."""
    n, _, height, width = images.shape
    device, reach = images.device, _reach(images)
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator).to(device)
    return top + torch.arange(height, device=device), left + torch.arange(width, device=device)


def _reach(images: Tensor) -> int:
    return max(1, min(images.shape[2:]) // REACH)


def _moved(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(images, (_reach(images),) * 4)
    which = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    picked = padded[which, :, rows.unsqueeze(2), columns.unsqueeze(1)]
    # A clone, for strides that say channels first: with one channel `contiguous` keeps strides
    # that read as channels last, a layout in which oneDNN 3.x on AVX2 writes past its buffers.
    return picked.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
