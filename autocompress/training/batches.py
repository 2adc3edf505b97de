"""Batches for training and scoring: images that live on the device, or files that fastai reads."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from fastai.data.core import DataLoaders
from torch import Tensor, nn

from autocompress.datasets import ImageFiles, Images, Part, Splits
from autocompress.training.layout import common_layout

Augmentation = Literal["none", "shift", "shift_flip"]
Batch = tuple[Tensor, Tensor]
CALIBRATION_SEED = 0  # of the choice of images


class Loader(Protocol):
    """Yields ``(images [n, channels, height, width] float32 normalised, labels [n] int64)``."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How images become batches.

    Attributes:
        batch_size: images per batch.
        augmentation: ``"shift"`` moves each training image by up to an eighth of its side,
            ``"shift_flip"`` also mirrors half of them.
    """

    batch_size: int = 64
    augmentation: Augmentation = "none"


class DeviceLoader:
    """Cuts batches from uint8 images that already are on the device; normalises them there.

    Args:
        images: uint8 images and labels of one split, on the device.
        splits: where the normalisation constants come from.
        settings: batch size and augmentation; only a shuffled loader augments.
        seed: what the order and the augmentation derive from; ``None`` keeps the images in order.
    """

    def __init__(
        self, images: Images, splits: Splits, settings: BatchSettings, *, seed: int | None
    ) -> None:
        device = images.images.device
        shape = (1, splits.channels, 1, 1)
        self.images = images
        self.settings = settings
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.mean = torch.tensor(splits.mean, device=device).view(shape) * 255
        self.deviation = torch.tensor(splits.std, device=device).view(shape) * 255

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller than the others."""
        return -(-len(self.images.labels) // self.settings.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, device = len(self.images.labels), self.images.images.device
        if self.generator is None:
            order = torch.arange(count, device=device)
        else:
            order = torch.randperm(count, generator=self.generator).to(device)
        for chosen in torch.split(order, self.settings.batch_size):
            if self.generator is not None and len(chosen) == 1 and count > 1:
                continue  # batch norm cannot train on one image
            yield self._normalised(self.images.images[chosen]), self.images.labels[chosen]

    def _normalised(self, images: Tensor) -> Tensor:
        batch = (images.float() - self.mean) / self.deviation
        if self.generator is not None:
            batch = augment(batch, self.settings.augmentation, self.generator)
        return batch


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return shifted (and mirrored) copies of normalised images [n, channels, height, width].

    Pixels that move in from outside are 0, which is the mean of the training split.
    """
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    device = images.device
    reach = max(1, min(height, width) // 8)
    padded = torch.nn.functional.pad(images, (reach,) * 4)
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator).to(device)
    rows = top + torch.arange(height, device=device)
    columns = left + torch.arange(width, device=device)
    if augmentation == "shift_flip":
        mirrored = torch.randint(0, 2, (n, 1), generator=generator).to(device).bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(n, device=device).view(n, 1, 1)
    picked = padded[which, :, rows.unsqueeze(2), columns.unsqueeze(1)]
    # A clone, for strides that say channels first: with one channel `contiguous` keeps strides
    # that read as channels last, a layout in which oneDNN 3.x on AVX2 writes past its buffers.
    return picked.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Batches:
    """The three splits of a study as loaders.

    Attributes:
        splits: the data set behind the loaders.
        settings: batch size and augmentation.
        device: where batches are delivered.
        loaders: fastai's ``DataLoaders`` of train, valid and test.
        example: a few normalised images [n, channels, height, width] of ``valid``, on the device.
        layout: in which networks are trained on them; open until ``laid_out_for`` decides it.
    """

    splits: Splits
    settings: BatchSettings
    device: torch.device
    loaders: Any
    example: Tensor
    layout: torch.memory_format = torch.preserve_format

    @property
    def train(self) -> Loader:
        """Shuffled and augmented training batches."""
        loader: Loader = self.loaders[0]
        return loader

    @property
    def valid(self) -> Loader:
        """Validation batches, in order."""
        loader: Loader = self.loaders[1]
        return loader

    @property
    def test(self) -> Loader:
        """Test batches, in order. Only the last word of a study opens them."""
        loader: Loader = self.loaders[2]
        return loader

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield batches of training images without augmentation, the same ones every time.

        Args:
            count: how many images, or all where there are fewer.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        chosen = train.take(torch.randperm(len(train), generator=generator)[:count])
        as_valid = replace(self.splits, valid=chosen)
        for images, _ in _loaders(as_valid, self.settings, self.device, CALIBRATION_SEED)[1]:
            yield images.as_subclass(Tensor)

    def laid_out_for(self, *networks: nn.Module) -> "Batches":
        """Return the same data with the layout that is best for all these networks together.

        A layout that is decided stays.

        Args:
            networks: on the device of the batches.
        """
        if self.layout != torch.preserve_format:
            return self
        return replace(self, layout=common_layout(networks, self.example))

    def reseeded(self, seed: int) -> "Batches":
        """Return the same data in a fresh order that derives from ``seed`` alone."""
        return replace(self, loaders=_loaders(self.splits, self.settings, self.device, seed))


def make_batches(
    splits: Splits, settings: BatchSettings, *, device: torch.device | str, seed: int = 0
) -> Batches:
    """Put a data set onto the device (if it is in memory) and wrap it into loaders.

    Args:
        splits: the data set; ``Images`` are moved to the device as uint8 once, ``ImageFiles``
            are decoded by fastai's DataLoaders batch by batch.
        settings: batch size and augmentation.
        device: where training runs.
        seed: what the order of the training batches derives from.
    """
    device = torch.device(device)
    if isinstance(splits.train, Images):
        splits = replace(
            splits,
            train=_to_device(splits.train, device),
            valid=_to_device(splits.valid, device),
            test=_to_device(splits.test, device),
        )
    loaders = _loaders(splits, settings, device, seed)
    images, _ = next(iter(loaders[1]))
    example = torch.Tensor(images[:4].cpu()).to(device)
    return Batches(splits, settings, device, loaders, example)


def _to_device(part: Part, device: torch.device) -> Images:
    images = _in_memory(part)
    return Images(images.images.to(device), images.labels.to(device))


def _in_memory(part: Part) -> Images:
    if not isinstance(part, Images):
        raise TypeError("all splits of a data set are in memory, or all are files")
    return part


def _loaders(splits: Splits, settings: BatchSettings, device: torch.device, seed: int) -> Any:
    if isinstance(splits.train, ImageFiles):
        from autocompress.training.files import file_loaders

        return file_loaders(splits, settings, device)
    parts = zip((splits.train, splits.valid, splits.test), (seed, None, None), strict=True)
    loaders = [DeviceLoader(_in_memory(p), splits, settings, seed=s) for p, s in parts]
    return DataLoaders(*loaders, device=None)
