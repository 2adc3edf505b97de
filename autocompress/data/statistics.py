"""Mean and deviation of the pixels of a training set."""

import numpy as np
import torch
from PIL import Image

from autocompress.data.cutting import stratified_order
from autocompress.data.resizing import crop
from autocompress.data.splits import ImageFiles, Images

SAMPLE = 1000  # files decoded for the mean and deviation of a folder


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
        values = np.asarray(crop(converted, side), dtype=np.uint8)
        arrays.append(values[None] if channels == 1 else values.transpose(2, 0, 1))
    return statistics_of_images(Images(torch.from_numpy(np.stack(arrays)), sample.labels))
