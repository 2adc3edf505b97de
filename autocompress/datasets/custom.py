"""Data that a function of the user's returns."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autocompress.datasets.sources import Source
from autocompress.datasets.splits import Images, Part, Splits
from autocompress.errors import ConfigurationError
from autocompress.user_code import call_function

EXPECTED = (
    "expected autocompress.datasets.Splits, a pair (images, labels), three such pairs (train, "
    "valid, test), or a dictionary with 'train' and, if there are any, 'valid', 'test' and "
    "'classes'"
)


def user_dataset(reference: str, image_size: int | None) -> Source | Splits:
    """Call ``package.module:function`` and check what it returns.

    The function receives ``image_size`` where its signature has it. It returns
    :class:`~autocompress.datasets.Splits`; or a pair (images, labels), which is cut into
    splits; or three such pairs for train, valid and test; or a dictionary of pairs by split and
    optionally ``"classes"`` (names). Images are uint8 arrays or tensors [n, height, width] or
    [n, channels, height, width], labels whole numbers [n].

    Raises:
        ConfigurationError: the function fails, or returns something else.
    """

    def arguments(function: Callable[..., Any]) -> dict[str, Any]:
        takes = "image_size" in inspect.signature(function).parameters
        return {"image_size": image_size} if takes else {}

    returned = call_function(reference, "data set", arguments)
    if isinstance(returned, Splits):
        return returned
    pairs, classes = _as_pairs(returned, reference)
    parts: dict[str, Part] = {
        name: _as_images(pair, f"data set {reference!r}, {name}") for name, pair in pairs.items()
    }
    if classes is None and "train" in parts:
        classes = range(int(parts["train"].labels.max()) + 1 if len(parts["train"]) else 0)
    return Source(parts, tuple(str(name) for name in classes or ()))


def _as_pairs(returned: Any, reference: str) -> tuple[dict[str, Any], Any]:
    if isinstance(returned, Mapping):
        pairs = dict(returned)
        classes = pairs.pop("classes", None)
        return pairs, classes
    if isinstance(returned, tuple) and len(returned) == 2:
        return {"train": returned}, None
    if isinstance(returned, tuple) and len(returned) == 3:
        return dict(zip(("train", "valid", "test"), returned, strict=True)), None
    raise ConfigurationError(
        f"data set {reference!r} returned {type(returned).__name__}: {EXPECTED}"
    )


def _as_images(pair: Any, where: str) -> Images:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ConfigurationError(
            f"{where}: expected a pair (images, labels), not {type(pair).__name__}"
        )
    images, labels = (_as_tensor(value, where) for value in pair)
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


def _as_tensor(value: Any, where: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.cpu()
    try:
        return torch.from_numpy(np.ascontiguousarray(value))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where}: expected arrays or tensors of numbers, not {type(value).__name__}: {error}"
        ) from error
