"""Whatever data the user has, as three splits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autocompress.data.batches import BatchSettings, default_device
from autocompress.data.cutting import complete
from autocompress.data.labelled import make_data
from autocompress.data.loaders import DatasetData, LoaderData
from autocompress.data.preprocessing import Preprocessing
from autocompress.data.protocol import Data
from autocompress.data.resizing import Step
from autocompress.data.splits import Images, Splits, Tensors, check_classes
from autocompress.data.statistics import statistics_of_images
from autocompress.data.tensors import SPLITS, Normalisation, TensorData
from autocompress.errors import ConfigurationError
from autocompress.tasks import Task

EXPECTED = (
    "expected fastai's DataLoaders; or two or three loaders or torch Datasets (train, valid, "
    "test), also as a dictionary by split; or a pair of tensors (inputs, targets), three such "
    "pairs, or a dictionary of pairs by split and, if there are any, 'classes'"
)


def as_data(
    anything: Any,
    *,
    task: Task,
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str | None = None,
    test: Any = None,
) -> Data:
    """Return data of the user's as three splits.

    Where there is no test split: of tensors, splits are cut from ``train`` as
    :func:`~autocompress.data.cutting.complete` says; of loaders and Datasets, half of the items
    of ``valid`` become ``test``, which a message through :mod:`logging` says.

    Args:
        anything: a :class:`Data`, which is returned as it is; fastai's ``DataLoaders``; loaders
            or torch ``Dataset``s as (train, valid), (train, valid, test) or a dictionary by
            split; tensors or arrays (inputs, targets), which are cut into splits, or three such
            pairs, or a dictionary of pairs. uint8 images ``[n, channels, height, width]`` are
            normalised by their training split; other inputs are taken as they are.
        task: says whether targets are classes.
        batch_size: items per batch, for tensors and Datasets.
        seed: of cuts and halves.
        device: where training runs; by default the GPU where there is one.
        test: the test split, where ``anything`` has none.

    Raises:
        ConfigurationError: it is none of these, or something in it does not fit; the message
            says what.

    Example:
        >>> from autocompress.tasks import regression
        >>> inputs = torch.rand(50, 3)
        >>> data = as_data((inputs, inputs.sum(1)), task=regression(), device="cpu")
        >>> data.sizes
        {'train': 30, 'valid': 10, 'test': 10}
    """
    settings = BatchSettings(batch_size=batch_size)
    return adapt(anything, task, settings, seed=seed, device=device, test=test)


def adapt(
    anything: Any,
    task: Task,
    settings: BatchSettings,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    test: Any = None,
) -> Data:
    """Return data as :func:`as_data` does, with all settings of batches."""
    if isinstance(anything, Data):
        return anything
    if isinstance(anything, Splits):
        return make_data(anything, settings, device=device or default_device())
    device = default_device() if device is None else torch.device(device)
    splits, classes = splits_of(anything)
    if test is not None:
        if "test" in splits:
            raise ConfigurationError("test: the data have a test split already; give one of them")
        splits["test"] = test
    kinds = {name: kind_of(part) for name, part in splits.items()}
    if set(kinds.values()) == {"pair"}:
        return _tensor_data(splits, classes, task, settings, seed=seed, device=device)
    if len(set(kinds.values())) > 1 or "unknown" in kinds.values():
        kinds_found = ", ".join(f"{name}: {type(part).__name__}" for name, part in splits.items())
        raise ConfigurationError(f"data: {EXPECTED}; got {kinds_found}")
    missing = [name for name in ("train", "valid") if name not in splits]
    if missing:
        raise ConfigurationError(f"data: there is no {' and no '.join(missing)}; {EXPECTED}")
    if settings.augmentation != "none":
        raise ConfigurationError(
            f"augmentation {settings.augmentation!r}: loaders and Datasets of yours augment by "
            "themselves; leave it out"
        )
    names = _classes_of(splits["train"], classes, task)
    if kinds["train"] == "loader":
        return LoaderData(**splits, device=device, classes=names, seed=seed)
    return DatasetData(**splits, settings=settings, device=device, classes=names, seed=seed)


def splits_of(anything: Any) -> tuple[dict[str, Any], Any]:
    """Return the splits that are there by name, and what names the classes.

    Raises:
        ConfigurationError: it is nothing that splits are known in.
    """
    if isinstance(anything, Mapping):
        splits = dict(anything)
        classes = splits.pop("classes", None)
    elif kind_of(anything) == "pair":
        splits, classes = {"train": anything}, None
    elif isinstance(anything, tuple | list) and len(anything) in (2, 3):
        splits, classes = dict(zip(SPLITS, anything, strict=False)), None
    elif hasattr(anything, "loaders") and hasattr(anything, "train"):  # fastai's DataLoaders
        loaders = list(anything.loaders)[: len(SPLITS)]
        splits, classes = dict(zip(SPLITS, loaders, strict=False)), _vocabulary(anything)
    else:
        raise ConfigurationError(f"data: {EXPECTED}; got {type(anything).__name__}")
    unknown = set(splits) - set(SPLITS)
    if unknown or not splits:
        raise ConfigurationError(
            f"data: expected the splits 'train' and, if there are any, 'valid' and 'test', not "
            f"{', '.join(map(repr, splits)) or 'none'}"
        )
    return splits, classes


def kind_of(part: Any) -> str:
    """Return what a split is: ``"pair"``, ``"loader"``, ``"dataset"`` or ``"unknown"``."""
    if isinstance(part, tuple | list):
        arrays = [isinstance(value, Tensor | np.ndarray) for value in part]
        return "pair" if len(part) == 2 and any(arrays) else "unknown"
    if not callable(getattr(type(part), "__len__", None)):
        return "loader" if callable(getattr(type(part), "__iter__", None)) else "unknown"
    if isinstance(part, str | Mapping | Tensor | np.ndarray):
        return "unknown"
    if callable(getattr(type(part), "__getitem__", None)):
        return "dataset"
    return "loader" if callable(getattr(type(part), "__iter__", None)) else "unknown"


def _tensor_data(
    splits: Mapping[str, Any],
    classes: Any,
    task: Task,
    settings: BatchSettings,
    *,
    seed: int,
    device: torch.device,
) -> TensorData:
    read = {name: _tensors(pair, f"data, {name}") for name, pair in splits.items()}
    parts = complete(read, seed)
    train = parts["train"]
    normalisation = preprocessing = None
    if train.inputs.dtype == torch.uint8 and train.inputs.ndim == 4:
        unlabelled = torch.zeros(len(train), dtype=torch.int64)
        mean, std = statistics_of_images(Images(train.inputs, unlabelled))
        if min(std) <= 0:
            raise ConfigurationError(
                f"every channel needs a standard deviation above 0, not {list(std)}: a channel is "
                "the same in all training images"
            )
        normalisation, preprocessing = Normalisation(mean, std), None
        height, width = train.inputs.shape[2:]
        if height == width:
            steps = (Step("stretch", height),)
            preprocessing = Preprocessing(image_size=height, steps=steps, mean=mean, std=std)
    elif not train.inputs.is_floating_point():
        raise ConfigurationError(
            "data: expected inputs as floating-point numbers, or as uint8 images [n, channels, "
            f"height, width], not {train.inputs.dtype} {list(train.inputs.shape)}"
        )
    names = _class_names(train.targets, classes, task)
    if names:
        check_classes(parts, names)
    return TensorData(
        parts,
        settings,
        normalisation=normalisation,
        preprocessing=preprocessing,
        classes=names,
        device=device,
    )


def _class_names(targets: Tensor, classes: Any, task: Task) -> tuple[str, ...]:
    """Name the classes, where the targets are one class per item."""
    if task.classes is None or targets.ndim != 1:
        return ()
    if classes is None:
        classes = range(task.classes or int(targets.max()) + 1)
    return tuple(str(name) for name in classes)


def _tensors(pair: Sequence[Any], where: str) -> Tensors:
    inputs, targets = (as_tensor(value, where) for value in pair)
    if targets.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        targets = targets.long()
    try:
        return Tensors(inputs, targets)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def as_tensor(value: Any, where: str) -> Tensor:
    """Return an array, tensor or list of numbers as a tensor on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    try:
        return torch.from_numpy(np.ascontiguousarray(value))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where}: expected arrays or tensors of numbers, not {type(value).__name__}: {error}"
        ) from error


def _classes_of(train: Any, classes: Any, task: Task) -> tuple[str, ...]:
    """Name the classes, where targets are one class per item and their names are known."""
    if task.classes is None or task.outcomes is None:
        return ()
    found = classes or getattr(getattr(train, "dataset", train), "classes", None)
    if found is None and task.classes:
        found = range(task.classes)
    return tuple(str(name) for name in found or ())


def _vocabulary(loaders: Any) -> Any:
    """Return the names that fastai's ``DataLoaders`` have for classes, if they have some."""
    found = getattr(loaders, "vocab", None)
    return list(found) if found is not None and all(isinstance(n, str) for n in found) else None
