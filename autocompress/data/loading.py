"""From a data set's name to its data."""

from typing import Any

import torch

from autocompress.data.adapting import adapt, kind_of, splits_of
from autocompress.data.batches import default_device
from autocompress.data.custom import call_user, labelled_images
from autocompress.data.labelled import make_data, normalised_by
from autocompress.data.named import find_source, splits_from
from autocompress.data.protocol import Data
from autocompress.data.settings import DataSettings
from autocompress.data.sources import Source
from autocompress.data.splits import Splits
from autocompress.errors import ConfigurationError
from autocompress.tasks import Task, classification


def load_data(
    source: str,
    *,
    seed: int = 0,
    task: Task | None = None,
    device: torch.device | str | None = None,
    **settings: Any,
) -> Data:
    """Load a data set by the name that study files have for it.

    Splits that the data set does not come with are cut from ``train``, and limits are applied,
    so that every split keeps the shares of the classes.

    Args:
        source: ``"digits"``, ``"fashion-mnist"``, ``"imagenette"``, ``"torchvision:NAME"``,
            ``"folder:PATH"``; or ``"package.module:function"``, which returns labelled images as
            :class:`Splits` or arrays, or anything that :func:`as_data` takes.
        seed: of the cuts and limits.
        task: what the data is for; by default classification.
        device: where training runs; by default the GPU where there is one.
        settings: fields of :class:`DataSettings`.

    Raises:
        ConfigurationError: the source does not exist or can't be read, or its items are
            unusable; the message names the file, split or class.

    Example:
        >>> data = load_data("digits", batch_size=50, train_limit=100, device="cpu")
        >>> data.sizes
        {'train': 100, 'valid': 359, 'test': 359}
    """
    chosen = DataSettings(**settings)
    device = default_device() if device is None else torch.device(device)
    task = classification() if task is None else task
    if _is_reference(source):
        returned = call_user(source, chosen.image_size)
        if not isinstance(returned, Splits) and not _is_labelled(returned, task):
            return _adapted(source, returned, task, chosen, seed=seed, device=device)
        splits = splits_from(source, _read(source, returned), chosen, seed)
    else:
        splits = load_splits(source, seed=seed, **settings)
    splits = normalised_by(splits, chosen.mean, chosen.std)
    return make_data(splits, chosen.batches, device=device)


def load_splits(source: str, *, seed: int = 0, **settings: Any) -> Splits:
    """Load labelled images in three splits; the same arguments always give the same splits.

    Args:
        source: as of :func:`load_data`.
        seed: as of :func:`load_data`.
        settings: fields of :class:`DataSettings`; those of batches have no effect.

    Raises:
        ConfigurationError: as :func:`load_data`.
    """
    chosen = DataSettings(**settings)
    if _is_reference(source):
        found = _read(source, call_user(source, chosen.image_size))
    else:
        found = find_source(source, chosen.image_size)
    return splits_from(source, found, chosen, seed)


def _read(source: str, returned: Any) -> Source | Splits:
    return returned if isinstance(returned, Splits) else labelled_images(returned, source)


def _is_reference(source: str) -> bool:
    home, colon, name = source.partition(":")
    return bool(colon) and not (home in ("folder", "torchvision") and name)


def _is_labelled(returned: Any, task: Task) -> bool:
    """Return whether a function returned arrays for a task with one class per item."""
    if task.classes is None or task.outcomes is None or isinstance(returned, Data):
        return False
    try:
        parts, _ = splits_of(returned)
    except ConfigurationError:
        return True  # the message says what is expected
    return not {kind_of(part) for part in parts.values()} & {"loader", "dataset"}


def _adapted(
    source: str,
    returned: Any,
    task: Task,
    settings: DataSettings,
    *,
    seed: int,
    device: torch.device,
) -> Data:
    unused = [
        name
        for name in ("mean", "std", "train_limit", "valid_limit", "test_limit")
        if getattr(settings, name) is not None
    ]
    if unused:
        raise ConfigurationError(
            f"data set {source!r} returns {type(returned).__name__}, which "
            f"{', '.join(unused)} cannot change: leave it out, or do it in the function"
        )
    try:
        return adapt(returned, task, settings.batches, seed=seed, device=device)
    except ConfigurationError as error:
        raise ConfigurationError(
            [f"data set {source!r}: {p.removeprefix('data: ')}" for p in error.problems]
        ) from error
