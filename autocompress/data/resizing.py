"""How images of any size become squares of one size: alike in training and in deployment."""

from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

CHUNK = 4096  # images resized at once, to bound the memory of the float copies


@dataclass(frozen=True, slots=True)
class Step:
    """One step of bringing an image to its size.

    Attributes:
        operation: ``"crop"``: as :func:`crop`; ``"stretch"``: as :func:`resize`; ``"pad"``: as
            :func:`pad`.
        side: height and width after it, in pixels.
    """

    operation: Literal["crop", "stretch", "pad"]
    side: int


def resize(images: Tensor, side: int) -> Tensor:
    """Scale images to a square by antialiased bilinear interpolation.

    Args:
        images: uint8 [n, channels, height, width].
        side: pixels.

    Returns:
        uint8 [n, channels, side, side]; the images themselves where they have that size.
    """
    if tuple(images.shape[2:]) == (side, side):
        return images
    chunks = [
        torch.nn.functional.interpolate(
            chunk.float(), size=(side, side), mode="bilinear", antialias=True
        )
        for chunk in torch.split(images, CHUNK)
    ]
    return torch.cat([chunk.round().clamp(0, 255).byte() for chunk in chunks])


def pad(images: Tensor, side: int) -> Tensor:
    """Put images [n, channels, height, width] on a black square of ``side`` pixels, centred."""
    height, width = images.shape[2:]
    top, left = (side - height) // 2, (side - width) // 2
    border = (left, side - width - left, top, side - height - top)
    return torch.nn.functional.pad(images, border)


def crop(image: Image.Image, side: int) -> Image.Image:
    """Cut out the largest square around the centre; Pillow scales it bilinearly to ``side``."""
    width, height = image.size
    square = min(width, height)
    left, top = (width - square) // 2, (height - square) // 2
    return image.crop((left, top, left + square, top + square)).resize(
        (side, side), Image.Resampling.BILINEAR
    )
