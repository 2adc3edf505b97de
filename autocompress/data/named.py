"""Data sets of labelled images by name, and what is cut and resized of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autocompress.data.cutting import complete, limit
from autocompress.data.downloads import imagenette, torchvision_dataset
from autocompress.data.folders import count_channels, read_folder
from autocompress.data.resizing import Step, pad, resize
from autocompress.data.settings import DataSettings
from autocompress.data.sources import FASHION_FOLDER, Source, digits, fashion_mnist_files
from autocompress.data.splits import ImageFiles, Images, Part, Splits, check_classes
from autocompress.data.statistics import statistics_of_files, statistics_of_images
from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean

NAMED = ("digits", "fashion-mnist", "imagenette")
PREFIXED = ("torchvision:NAME", "folder:PATH", "package.module:function")
FASHION_SIDE = 28  # pixels, as published
FASHION_PADDED = 32  # pixels to which 28x28 images are padded instead of being blurred


def splits_from(source: str, found: Source | Splits, settings: DataSettings, seed: int) -> Splits:
    """Cut, limit and resize what a source gave.

    Raises:
        ConfigurationError: there are too few images, or their sizes do not fit.
    """
    image_size, limits = settings.image_size, settings.limits
    if isinstance(found, Splits):
        if image_size not in (None, found.image_size):
            raise ConfigurationError(
                f"data set {source!r} has images of {found.image_size} pixels and "
                f"data.image_size is {image_size}"
            )
        return _limited(found, limits, seed)
    try:
        parts = complete(found.parts, seed)
        parts = {name: limit(part, limits[name], seed) for name, part in parts.items()}
        check_classes(parts, found.classes)
    except ConfigurationError as error:
        raise ConfigurationError([f"data set {source!r}: {p}" for p in error.problems]) from None
    if isinstance(parts["train"], ImageFiles):
        return _file_splits(source, parts, found.classes, image_size)
    return _image_splits(source, Source(parts, found.classes, found.resizing), image_size)


def find_source(source: str, image_size: int | None) -> Source:
    """Return the data set of a name, as its maker published it.

    Raises:
        ConfigurationError: there is no such data set, or it cannot be read.
    """
    home, _, name = source.partition(":")
    if home == "folder" and name:
        return read_folder(Path(name).expanduser())
    if home == "torchvision" and name:
        return torchvision_dataset(name, image_size)
    return _find_named(source, image_size)


def _find_named(source: str, image_size: int | None) -> Source:
    if source == "digits":
        return digits()
    if source == "fashion-mnist":
        return fashion_mnist(image_size)
    if source == "imagenette":
        return imagenette(image_size)
    raise ConfigurationError(
        f"unknown data set {source!r}{did_you_mean(source, NAMED)}; allowed: "
        f"{', '.join([*NAMED, *PREFIXED])}"
    )


def fashion_mnist(image_size: int | None, folder: Path = FASHION_FOLDER) -> Source:
    """Read Fashion-MNIST from a folder, else download it; pad it to 32 pixels.

    Args:
        image_size: sides of the images that are wanted, in pixels; ``None``: as published.
        folder: of its four files; by default where Debian installs them.

    Raises:
        ConfigurationError: a file is missing or damaged.
    """
    if folder.is_dir():
        source = fashion_mnist_files(folder)
    else:
        source = torchvision_dataset("FashionMNIST", image_size=None)
    if image_size is None or image_size < FASHION_PADDED:
        return source
    padded = {
        name: Images(pad(part.images, FASHION_PADDED), part.labels)
        for name, part in source.parts.items()
        if isinstance(part, Images)
    }
    return Source(
        padded, source.classes, (Step("stretch", FASHION_SIDE), Step("pad", FASHION_PADDED))
    )


def _limited(splits: Splits, limits: Mapping[str, int | None], seed: int) -> Splits:
    return replace(
        splits,
        train=limit(splits.train, limits["train"], seed),
        valid=limit(splits.valid, limits["valid"], seed),
        test=limit(splits.test, limits["test"], seed),
    )


def _file_splits(
    source: str, parts: dict[str, Part], classes: tuple[str, ...], image_size: int | None
) -> Splits:
    if image_size is None:
        raise ConfigurationError(f"data set {source!r}: files of any size need data.image_size")
    train = parts["train"]
    assert isinstance(train, ImageFiles)
    channels = count_channels(parts)
    mean, std = statistics_of_files(train, channels, image_size)
    return Splits(
        train=train,
        valid=parts["valid"],
        test=parts["test"],
        classes=classes,
        channels=channels,
        image_size=image_size,
        mean=mean,
        std=std,
        resizing=(Step("crop", image_size),),
    )


def _image_splits(name: str, source: Source, image_size: int | None) -> Splits:
    images = {split: part for split, part in source.parts.items() if isinstance(part, Images)}
    shapes = {split: tuple(part.images.shape[1:]) for split, part in images.items()}
    channels, height, width = shapes["train"]
    if image_size is None and (height != width or len(set(shapes.values())) > 1):
        raise ConfigurationError(
            f"data set {name!r}: expected square images of one size, or data.image_size; the "
            f"splits have {', '.join(f'{name} {list(s)}' for name, s in shapes.items())} "
            f"(channels, height, width)"
        )
    side = image_size or height
    done = source.resizing
    steps = done if done and done[-1].side == side else (*done, Step("stretch", side))
    resized = {name: Images(resize(p.images, side), p.labels) for name, p in images.items()}
    mean, std = statistics_of_images(resized["train"])
    return Splits(
        train=resized["train"],
        valid=resized["valid"],
        test=resized["test"],
        classes=source.classes,
        channels=channels,
        image_size=side,
        mean=mean,
        std=std,
        resizing=steps,
    )
