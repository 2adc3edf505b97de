"""Data that a function of the user's returns."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from autocompress.data.adapting import as_tensor, splits_of
from autocompress.data.sources import Source
from autocompress.data.splits import Images, Part
from autocompress.errors import ConfigurationError
from autocompress.user_code import call_function

MOST_CLASSES = 1_000_000


def call_user(reference: str, image_size: int | None) -> Any:
    """Call ``package.module:function``; it receives ``image_size`` where its signature has it.

    Raises:
        ConfigurationError: there is no such function, or it fails.
    """

    def arguments(function: Callable[..., Any]) -> dict[str, Any]:
        takes = "image_size" in inspect.signature(function).parameters
        return {"image_size": image_size} if takes else {}

    return call_function(reference, "data set", arguments)


def labelled_images(returned: Any, reference: str) -> Source:
    """Read labelled images from what a function of the user's returned.

    It is a pair (images, labels), which is cut into splits; or three such pairs for train, valid
    and test; or a dictionary of pairs by split and optionally ``"classes"`` (names). Images are
    uint8 arrays or tensors [n, height, width] or [n, channels, height, width], labels whole
    numbers [n].

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        pairs, classes = splits_of(returned)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"data set {reference!r}: {p.removeprefix('data: ')}" for p in error.problems
        ) from None
    parts: dict[str, Part] = {
        name: _as_images(pair, f"data set {reference!r}, {name}") for name, pair in pairs.items()
    }
    if classes is None and "train" in parts:
        largest = int(parts["train"].labels.max()) if len(parts["train"]) else -1
        if largest >= MOST_CLASSES:
            raise ConfigurationError(
                f"data set {reference!r}, train: expected labels from 0 to the number of classes, "
                f"at most {MOST_CLASSES:,}, not {largest}"
            )
        classes = range(largest + 1)
    return Source(parts, tuple(str(name) for name in classes or ()))


def _as_images(pair: Any, where: str) -> Images:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ConfigurationError(
            f"{where}: expected a pair (images, labels), not {type(pair).__name__}"
        )
    images, labels = (as_tensor(value, where) for value in pair)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ConfigurationError(
            f"{where}: expected images as uint8 [n, height, width] or [n, channels, height, "
            f"width] with values 0 to 255, not {images.dtype} {list(images.shape)}"
        )
    if images.shape[3] <= 4 < images.shape[1]:
        raise ConfigurationError(
            f"{where}: images of shape {list(images.shape)} seem to have their channels last; "
            f"expected [n, channels, height, width]"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool or len(labels) != len(images):
        raise ConfigurationError(
            f"{where}: expected a whole number as label for each of {len(images)} images, not "
            f"{labels.dtype} {list(labels.shape)}"
        )
    return Images(images, labels.long())
