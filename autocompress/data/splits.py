"""What a data set is: labelled images, in memory or in files, in three checked splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from autocompress.data.preprocessing import Preprocessing
from autocompress.data.resizing import Step
from autocompress.errors import ConfigurationError

SHOWN = 5  # classes listed in a message


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Labelled images in memory.

    Attributes:
        images: uint8 [n, channels, height, width], 0 to 255.
        labels: int64 [n], indices of classes.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ConfigurationError(
                f"expected images as uint8 [n, channels, height, width], not "
                f"{self.images.dtype} {list(self.images.shape)}"
            )
        if 0 in self.images.shape[1:]:
            raise ConfigurationError(f"expected pixels, not images {list(self.images.shape)}")
        _check_labels(self.labels, len(self.images))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> Tensor:
        """The images."""
        return self.images

    @property
    def targets(self) -> Tensor:
        """The labels."""
        return self.labels

    def take(self, indices: Tensor) -> "Images":
        """Return the images at ``indices`` (int64 [k]), in that order."""
        return Images(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles:
    """Labelled image files, decoded when they are needed.

    Attributes:
        paths: one file per image.
        labels: int64 [n], indices of classes.
    """

    paths: tuple[Path, ...]
    labels: Tensor

    def __post_init__(self) -> None:
        _check_labels(self.labels, len(self.paths))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "ImageFiles":
        """Return the files at ``indices`` (int64 [k]), in that order."""
        return ImageFiles(tuple(self.paths[i] for i in indices.tolist()), self.labels[indices])


Part = Images | ImageFiles


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """Inputs and targets of any kind, in memory.

    Attributes:
        inputs: ``[n, ...]``, as a model receives them, or uint8 images that are normalised.
        targets: ``[n, ...]``.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if (
            self.inputs.ndim == 0
            or self.targets.ndim == 0
            or len(self.inputs) != len(self.targets)
        ):
            raise ConfigurationError(
                f"expected as many targets as inputs, not inputs {list(self.inputs.shape)} and "
                f"targets {list(self.targets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def labels(self) -> Tensor:
        """What cuts keep the shares of: the class of each item; 0 for all where it has none."""
        if self.targets.ndim == 1 and self.targets.dtype == torch.int64:
            return self.targets
        return torch.zeros(len(self), dtype=torch.int64)

    def take(self, indices: Tensor) -> "Tensors":
        """Return the items at ``indices`` (int64 [k]), in that order."""
        return Tensors(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """A data set, checked: every split has images and every class has some in ``train``.

    Attributes:
        train: what models learn from.
        valid: what the search sees.
        test: opened at the end.
        classes: names of the classes; a label is an index into them.
        channels: channels of the images.
        image_size: height and width of the images that models see, in pixels.
        mean: mean of each channel over ``train``, of pixels scaled to [0, 1].
        std: standard deviation of each channel over ``train``, of pixels scaled to [0, 1].
        resizing: how images got their size, and how others get it; empty: they are stretched.
    """

    train: Part
    valid: Part
    test: Part
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizing: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        check_classes(parts, self.classes)
        if len({type(part) for part in parts.values()}) > 1:
            raise ConfigurationError("expected all three splits as Images or all as ImageFiles")
        expected = (self.channels, self.image_size, self.image_size)
        for name, part in parts.items():
            if isinstance(part, Images) and tuple(part.images.shape[1:]) != expected:
                raise ConfigurationError(
                    f"{name}: expected images of shape {list(expected)} (channels, height, "
                    f"width), not {list(part.images.shape[1:])}"
                )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ConfigurationError(
                    f"{name}: expected one value for each of {self.channels} channels, "
                    f"not {len(values)}"
                )
        if min(self.std) <= 0:
            raise ConfigurationError(
                f"every channel needs a standard deviation above 0, not {list(self.std)}: a "
                f"channel is the same in all training images"
            )

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture of any size becomes the input of a model."""
        return Preprocessing(
            image_size=self.image_size,
            steps=self.resizing or (Step("stretch", self.image_size),),
            mean=self.mean,
            std=self.std,
        )


def _check_labels(labels: Tensor, count: int) -> None:
    if labels.dtype != torch.int64 or list(labels.shape) != [count]:
        raise ConfigurationError(
            f"expected one int64 label for each of {count} images, not {labels.dtype} "
            f"{list(labels.shape)}"
        )


class Labelled(Protocol):
    """Items with one class each."""

    @property
    def labels(self) -> Tensor:
        """Indices of classes, int64 ``[n]``."""

    def __len__(self) -> int: ...


def check_classes(parts: Mapping[str, Labelled], classes: Sequence[str]) -> None:
    """Check that the labels belong to the classes and that ``train`` has all of them.

    Raises:
        ConfigurationError: fewer than two classes, a split without images, a label out of range,
            or a class without training images.
    """
    if len(classes) < 2:
        raise ConfigurationError(
            f"expected at least 2 classes, not {len(classes)}: {', '.join(classes) or 'none'}"
        )
    for name, part in parts.items():
        if len(part) == 0:
            raise ConfigurationError(f"{name}: expected at least 1 image, not 0")
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= len(classes):
            raise ConfigurationError(
                f"{name}: expected labels from 0 to {len(classes) - 1} for {len(classes)} "
                f"classes, not from {low} to {high}"
            )
    counts = parts["train"].labels.bincount(minlength=len(classes)).tolist()
    missing = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if missing:
        rest = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ConfigurationError(
            f"train: expected images of every class, but there are none of "
            f"{', '.join(missing[:SHOWN])}{rest} among {sum(counts)} images"
        )
