"""Public data sets that are downloaded once: torchvision's, and Imagenette through fastai."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image

from autocompress.data.folders import read_folder
from autocompress.data.resizing import Step, crop
from autocompress.data.sources import Source, cache_folder
from autocompress.data.splits import Images, Part
from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean

MOST_BYTES = 4 * 2**30  # of decoded images held in memory
PEEKED = 64  # images looked at to see whether they have one size
IMAGENETTE_CLASSES = {  # WordNet ids, which are the folders' names
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute",
}  # fmt: skip


def torchvision_dataset(name: str, image_size: int | None) -> Source:
    """One of torchvision's classification data sets, decoded into memory.

    Its class must take ``(root, train, download)`` or ``(root, split, download)``, as CIFAR10,
    MNIST, SVHN and Flowers102 do.

    Args:
        name: class in ``torchvision.datasets``.
        image_size: pixels; images that are larger, or differ in size, are scaled and cropped to
            a square around the centre. None keeps images of one size as they are.

    Raises:
        ConfigurationError: no such data set, another signature, a failed download, or images
            that differ in size or don't fit in memory.
    """
    known = [key for key, value in vars(torchvision.datasets).items() if _is_dataset(value)]
    if name not in known:
        raise ConfigurationError(
            f"torchvision has no data set {name!r} with (root, train or split, download)"
            f"{did_you_mean(name, known)}; allowed: {', '.join(sorted(known))}"
        )
    opened = _open_splits(name, getattr(torchvision.datasets, name))
    parts: dict[str, Part] = {
        split: _decode(dataset, f"torchvision:{name}, {split}", image_size)
        for split, dataset in opened.items()
    }
    classes = getattr(opened["train"], "classes", None)
    if classes is None:
        classes = range(int(parts["train"].labels.max()) + 1)
    steps: tuple[Step, ...] = ()
    if image_size is not None and _needs_cropping(opened["train"], image_size):
        steps = (Step("crop", image_size),)
    return Source(parts, tuple(str(label) for label in classes), steps)


def _is_dataset(value: object) -> bool:
    if not isinstance(value, type):
        return False
    names = inspect.signature(value).parameters
    return {"root", "download"} <= set(names) and ("train" in names or "split" in names)


def _open_splits(name: str, kind: Callable[..., Any]) -> dict[str, Any]:
    root = cache_folder() / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        if "train" in inspect.signature(kind).parameters:
            return {
                "train": kind(str(root), train=True, download=True),
                "test": kind(str(root), train=False, download=True),
            }
        return _open_named_splits(str(root), kind)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"torchvision:{name} can't be opened or downloaded into {root}: {error}"
        ) from error


def _open_named_splits(root: str, kind: Callable[..., Any]) -> dict[str, Any]:
    """Open the splits that exist: torchvision refuses the name of another with ValueError."""
    opened = {"train": kind(root, split="train", download=True)}
    for split, spelling in (("valid", "valid"), ("valid", "val"), ("test", "test")):
        with contextlib.suppress(ValueError):
            opened[split] = kind(root, split=spelling, download=True)
    return opened


def _decode(dataset: Any, label: str, image_size: int | None) -> Images:
    if len(dataset) == 0:
        raise ConfigurationError(f"{label}: expected at least 1 image, not 0")
    side = image_size if _needs_cropping(dataset, image_size) else None
    arrays, labels = [], []
    for image, target in dataset:
        arrays.append(_pixels(image, side))
        labels.append(int(target))
        shape, first = list(arrays[-1].shape), list(arrays[0].shape)
        if shape != first:
            raise ConfigurationError(
                f"{label}: expected images of one shape (channels, height, width), but image 0 "
                f"has {first} and image {len(arrays) - 1} has {shape}"
                f"{'; give data.image_size' if image_size is None else ''}"
            )
        if len(dataset) * arrays[0].nbytes > MOST_BYTES:
            raise ConfigurationError(
                f"{label}: {len(dataset)} images of {first} need "
                f"{len(dataset) * arrays[0].nbytes / 2**30:.1f} GiB of memory, more than "
                f"{MOST_BYTES / 2**30:.0f}; give a smaller data.image_size, or use folder:PATH"
            )
    return Images(torch.from_numpy(np.stack(arrays)), torch.tensor(labels))


def _needs_cropping(dataset: Any, image_size: int | None) -> bool:
    """Whether images are larger than asked or, by the first ones, differ in size."""
    if image_size is None:
        return False
    sizes = {dataset[index][0].size for index in range(min(PEEKED, len(dataset)))}
    return len(sizes) > 1 or max(max(size) for size in sizes) > image_size


def _pixels(image: Image.Image, side: int | None) -> np.ndarray[Any, Any]:
    """Return uint8 [channels, height, width]: one channel for grey images, else three."""
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    if side is not None:
        image = crop(image, side)
    values = np.asarray(image, dtype=np.uint8)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def imagenette(image_size: int | None) -> Source:
    """Ten easy classes of ImageNet (Howard 2019), from fastai's mirror.

    The smallest published version that has ``image_size`` pixels is taken: 160, 320 or full size;
    160 without an ``image_size``.

    Raises:
        ConfigurationError: the download failed.
    """
    from fastai.data.external import URLs, untar_data

    urls = ((160, URLs.IMAGENETTE_160), (320, URLs.IMAGENETTE_320))
    fitting = [url for side, url in urls if (image_size or 160) <= side]
    try:
        folder = untar_data(fitting[0] if fitting else URLs.IMAGENETTE)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"imagenette can't be downloaded: {error}") from error
    source = read_folder(folder)
    names = tuple(IMAGENETTE_CLASSES.get(name, name) for name in source.classes)
    return Source(source.parts, names)
