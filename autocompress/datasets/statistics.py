"""Pixels of a training set: resizing them, and their mean and deviation."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from autocompress.datasets.cutting import stratified_order
from autocompress.datasets.splits import ImageFiles, Images

CHUNK = 4096  # images resized at once, to bound the memory of the float copies
SAMPLE = 1000  # files decoded for the mean and deviation of a folder


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


def statistics_of_images(train: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, of pixels scaled to [0, 1].

    Exact: computed in float64 from how often each of the 256 values occurs.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(train.images.shape[1]):
        counts = train.images[:, channel].flatten().bincount(minlength=256).double()
        shares = counts / counts.sum()
        mean = (shares * levels).sum()
        means.append(float(mean))
        deviations.append(float((shares * (levels - mean) ** 2).sum().sqrt()))
    return tuple(means), tuple(deviations)


def statistics_of_files(
    train: ImageFiles, channels: int, side: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation as :func:`statistics_of_images`, over a sample of the files.

    Up to a thousand files, with the shares of the classes kept, scaled and cropped to ``side``
    pixels.
    """
    sample = train.take(stratified_order(train.labels, seed=0)[:SAMPLE])
    arrays = []
    for path in sample.paths:
        with Image.open(path) as image:
            converted = image.convert("RGB" if channels == 3 else "L")
        cropped = ImageOps.fit(converted, (side, side), Image.Resampling.BILINEAR)
        values = np.asarray(cropped, dtype=np.uint8)
        arrays.append(values[None] if channels == 1 else values.transpose(2, 0, 1))
    return statistics_of_images(Images(torch.from_numpy(np.stack(arrays)), sample.labels))
