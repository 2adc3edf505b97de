"""What happens to training images from files, by name."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from autocompress.data.resizing import crop as crop_centre
from autocompress.registry import by_name

LEAST_AREA = 0.35  # of an image that a random crop keeps


@dataclass(frozen=True)
class FileAugmentation:
    """What happens to training images from files.

    Attributes:
        bring_to_size: brings an image of any size to a square.
        on_batches: fastai's transforms of a batch.
    """

    bring_to_size: Any
    on_batches: tuple[Any, ...] = ()


def none(side: int) -> FileAugmentation:
    """Cut out the largest square around the centre."""

    # Not fastai's Resize: it crops at random wherever a loader does not say that it validates.
    def centre(image: Image.Image) -> Any:  # a PILImage stays one
        return crop_centre(image, side)

    return FileAugmentation(centre)


def crop(side: int) -> FileAugmentation:
    """Cut out a part at random, at least 35 % of the area (Szegedy et al. 2015), and scale it."""
    from fastai.vision.augment import RandomResizedCrop  # loaded here: it takes seconds

    return FileAugmentation(RandomResizedCrop(side, min_scale=LEAST_AREA))


def crop_flip(side: int) -> FileAugmentation:
    """Cut out a part as ``crop`` does, and mirror half of the images left to right."""
    from fastai.vision.augment import Flip, RandomResizedCrop  # loaded here: it takes seconds

    return FileAugmentation(RandomResizedCrop(side, min_scale=LEAST_AREA), (Flip(),))


FILE_AUGMENTATIONS = by_name("augmentation of image files", none, crop, crop_flip)
