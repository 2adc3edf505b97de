"""Labelled images as data: in memory, or in files."""

from dataclasses import replace

import torch

from autocompress.data.batches import BatchSettings
from autocompress.data.protocol import Data
from autocompress.data.splits import Images, Splits
from autocompress.data.tensors import Normalisation, TensorData


def make_data(
    splits: Splits, settings: BatchSettings | None = None, *, device: torch.device | str = "cpu"
) -> Data:
    """Make batches of a data set of labelled images.

    Args:
        splits: ``Images`` are moved to the device as uint8 once, ``ImageFiles`` are decoded by
            fastai batch by batch.
        settings: batch size and augmentation.
        device: where training runs.
    """
    images = {
        name: part
        for name, part in (("train", splits.train), ("valid", splits.valid), ("test", splits.test))
        if isinstance(part, Images)
    }
    if not images:
        from autocompress.data.files import FileData  # fastai's vision takes seconds to import

        return FileData(splits, settings, device=device)
    return TensorData(
        images,
        settings,
        normalisation=Normalisation(splits.mean, splits.std),
        preprocessing=splits.preprocessing,
        classes=splits.classes,
        device=device,
    )


def normalised_by(
    splits: Splits, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Splits:
    """Return a data set with other constants of normalisation, where both are given."""
    if mean is None or std is None:
        return splits
    return replace(splits, mean=tuple(mean), std=tuple(std))
