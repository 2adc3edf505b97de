"""Folders of large images, through fastai's DataLoaders."""

from pathlib import Path
from typing import Any, Protocol

import torch
from fastai.data.core import DataLoaders, Datasets, TfmdDL
from fastai.data.transforms import IntToFloatTensor, ToTensor
from fastai.vision.augment import Flip, RandomResizedCrop
from fastai.vision.core import PILImage, PILImageBW
from fastai.vision.data import Normalize
from PIL import Image

from autocompress.datasets import ImageFiles, Part, Splits
from autocompress.datasets.resizing import crop as crop_centre


class FileBatchSettings(Protocol):
    """The part of ``BatchSettings`` that decides how files become batches."""

    @property
    def batch_size(self) -> int:
        """Images per batch."""

    @property
    def augmentation(self) -> str:
        """``"none"``, ``"shift"`` (random crops here) or ``"shift_flip"``."""


def file_loaders(splits: Splits, settings: FileBatchSettings, device: torch.device) -> DataLoaders:
    """Return fastai's ``DataLoaders`` (train, valid, test) over image files.

    Training images are cropped at random (and mirrored) if the settings augment; validation
    and test images are resized and cropped at their centre.

    Args:
        splits: paths and labels of the three splits, size and normalisation constants.
        settings: batch size and augmentation.
        device: where batches are delivered.
    """

    # Not fastai's Resize: it crops at random wherever a loader does not say that it validates.
    def centre(image: Image.Image) -> Any:  # a PILImage stays one
        return crop_centre(image, splits.image_size)

    crop: Any = centre
    if settings.augmentation != "none":
        crop = RandomResizedCrop(splits.image_size, min_scale=0.35)
    mirror = [Flip()] if settings.augmentation == "shift_flip" else []
    normalise = Normalize.from_stats(splits.mean, splits.std, cuda=device.type == "cuda")
    open_image = PILImage.create if splits.channels == 3 else PILImageBW.create
    workers = min(8, torch.get_num_threads()) if device.type == "cuda" else 0

    def loader(part: Part, crop: Any, mirror: list[Any], *, training: bool) -> TfmdDL:
        if not isinstance(part, ImageFiles):
            raise TypeError("all splits of a data set are in memory, or all are files")

        def path(index: int) -> Path:
            return part.paths[index]

        def label(index: int) -> torch.Tensor:
            return part.labels[index]

        dataset = Datasets(range(len(part)), tfms=[[path, open_image], [label]])
        return TfmdDL(
            dataset,
            bs=settings.batch_size,
            shuffle=training,
            drop_last=training and len(part) > settings.batch_size,
            num_workers=workers,
            device=device,
            after_item=[crop, ToTensor()],
            after_batch=[IntToFloatTensor(), *mirror, normalise],
        )

    return DataLoaders(
        loader(splits.train, crop, mirror, training=True),
        loader(splits.valid, centre, [], training=False),
        loader(splits.test, centre, [], training=False),
        device=device,
    )
