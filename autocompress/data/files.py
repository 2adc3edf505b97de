"""Folders of large images, decoded batch by batch through fastai's loaders."""

import logging
import random
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fastai.data.core import Datasets, TfmdDL
from fastai.data.transforms import IntToFloatTensor, ToTensor
from fastai.vision.core import PILImage, PILImageBW
from fastai.vision.data import Normalize
from torch import Tensor

from autocompress.data.batches import CALIBRATION_SEED, BatchSettings, example_of, in_short
from autocompress.data.file_augmentation import FILE_AUGMENTATIONS, none
from autocompress.data.fingerprints import Fingerprint, add_files
from autocompress.data.preprocessing import Preprocessing
from autocompress.data.protocol import Loader
from autocompress.data.randomness import PYTHON, RandomStream, all_sources, of_torch
from autocompress.data.seeded import SeededLoader
from autocompress.data.splits import ImageFiles, Part, Splits
from autocompress.targets import usable_cores

logger = logging.getLogger(__name__)
WORKERS = 8  # processes that decode for a GPU, at most
RELEASE_0_1 = {"shift": "crop", "shift_flip": "crop_flip"}  # what files got under these names


class FileData:
    """Three splits of image files.

    Training images are cropped at random (and mirrored) if the settings augment; validation and
    test images are scaled and cropped at their centre. All are normalised.

    Args:
        splits: paths and labels, size and normalisation.
        settings: batch size and augmentation. ``"shift"`` and ``"shift_flip"``, which files
            could be given in release 0.1, are ``"crop"`` and ``"crop_flip"``.
        device: where training runs.

    Attributes:
        device: where batches are delivered.
        example: up to four inputs of ``valid``.
        preprocessing: how a picture becomes an input.

    Raises:
        ConfigurationError: there is no such augmentation.
    """

    def __init__(
        self,
        splits: Splits,
        settings: BatchSettings | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.splits = splits
        self.settings = settings or BatchSettings()
        self.augmentation = _named(self.settings.augmentation)
        self.preprocessing: Preprocessing | None = splits.preprocessing
        self.classes = splits.classes
        self.valid: Loader = _Plain(self._loader(splits.valid))
        self.test: Loader = _Plain(self._loader(splits.test))
        self.example = example_of(self.valid).to(self.device)

    def _loader(self, part: Part, *, training: bool = False) -> TfmdDL:
        splits, size = self.splits, self.settings.batch_size
        make = FILE_AUGMENTATIONS[self.augmentation] if training else none
        augmented = make(splits.image_size)
        on_gpu = self.device.type == "cuda"
        return TfmdDL(
            _opened(part, splits.channels),
            bs=size,
            shuffle=training,
            drop_last=training and len(part) > size,
            num_workers=min(WORKERS, torch.get_num_threads(), usable_cores()) if on_gpu else 0,
            device=self.device,
            after_item=[augmented.bring_to_size, ToTensor()],
            after_batch=[
                IntToFloatTensor(),
                *augmented.on_batches,
                Normalize.from_stats(splits.mean, splits.std, cuda=on_gpu),
            ],
        )

    def train(self, seed: int) -> Loader:
        """Return shuffled and augmented training batches, which derive from ``seed`` alone."""
        if self.device.type == "cuda":  # crops are drawn in workers, flips on the GPU
            sources = all_sources(self.device)
        elif self.augmentation == "crop_flip":
            sources = (PYTHON, of_torch())
        else:
            sources = (PYTHON,)
        stream = RandomStream(seed, sources)
        with stream.active():
            loader = self._loader(self.splits.train, training=True)
            for _ in ("valid", "test"):  # as in release 0.1, whose loaders drew a number each
                random.randint(0, 2**32 - 1)
        return SeededLoader(loader, stream, self.device, name="train", reseed=False)

    def __repr__(self) -> str:
        return in_short(self, self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images by split."""
        splits = self.splits
        return {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)}

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield batches of training images without augmentation, the same ones every time.

        Args:
            count: how many images, or all where there are fewer.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        chosen = train.take(torch.randperm(len(train), generator=generator)[:count])
        for inputs, _ in _Plain(self._loader(chosen)):
            yield inputs

    @cached_property
    def _fingerprint(self) -> str:
        found = Fingerprint()
        found.add([list(self.classes), repr(self.preprocessing)])
        for part in (self.splits.train, self.splits.valid, self.splits.test):
            found.add(part.labels)
            add_files(found, part.paths if isinstance(part, ImageFiles) else ())
        return found.hexdigest()

    def fingerprint(self) -> str:
        """Return a sha256 of labels, names, sizes and content of files, and the preprocessing.

        Of sets above 256 MiB it is the content of a thousand files.
        """
        return self._fingerprint

    def describe(self) -> dict[str, Any]:
        """Return shape of an input, batch size, augmentation and names of the classes."""
        return {
            "shape": list(self.example.shape[1:]),
            "batch_size": self.settings.batch_size,
            "augmentation": self.augmentation,
            "classes": list(self.classes),
        }


class _Plain:
    """Strips fastai's tensor subclasses, which exist to draw pictures."""

    def __init__(self, loader: TfmdDL) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.loader:
            yield inputs.as_subclass(Tensor), targets.as_subclass(Tensor)


def _opened(part: Part, channels: int) -> Datasets:
    if not isinstance(part, ImageFiles):
        raise TypeError("all splits of a data set are in memory, or all are files")
    open_image: Callable[..., Any] = (PILImage if channels == 3 else PILImageBW).create

    def path(index: int) -> Path:
        return part.paths[index]

    def label(index: int) -> Tensor:
        return part.labels[index]

    return Datasets(range(len(part)), tfms=[[path, open_image], [label]])


def _named(augmentation: str) -> str:
    """Return the name that files know an augmentation by; say so where it was another one."""
    name = RELEASE_0_1.get(augmentation, augmentation)
    FILE_AUGMENTATIONS[name]  # an unknown name is an error
    if name != augmentation:
        logger.warning(
            "augmentation %r crops files at random, as in release 0.1; its name is %r now",
            augmentation,
            name,
        )
    return name
