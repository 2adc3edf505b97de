"""Data that fits in memory: it lies on the device, and batches are cut from it there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from autocompress.data.augmentation import AUGMENTATIONS
from autocompress.data.batches import CALIBRATION_SEED, BatchSettings, example_of, in_short
from autocompress.data.fingerprints import Fingerprint
from autocompress.data.preprocessing import Preprocessing
from autocompress.data.protocol import Loader
from autocompress.data.splits import Tensors
from autocompress.errors import ConfigurationError

Batch = tuple[Tensor, Tensor]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixels scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def on(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return what makes float32 of uint8 images ``[n, channels, height, width]`` there."""
        shape = (1, len(self.mean), 1, 1)
        mean = torch.tensor(self.mean, device=device).view(shape) * 255
        deviation = torch.tensor(self.std, device=device).view(shape) * 255
        return lambda images: (images.float() - mean) / deviation


class TensorLoader:
    """Cuts batches from tensors that already are on the device; normalises them there.

    Args:
        part: inputs and targets of one split, on the device.
        settings: batch size and augmentation; only a shuffled loader augments.
        normalisation: of uint8 images; ``None`` takes inputs as they are.
        seed: what the order and the augmentation derive from; ``None`` keeps the order.
    """

    def __init__(
        self,
        part: Tensors,
        settings: BatchSettings,
        normalisation: Normalisation | None,
        *,
        seed: int | None,
    ) -> None:
        self.part = part
        self.settings = settings
        self.normalised: Callable[[Tensor], Tensor] | None = None
        if normalisation is not None:
            self.normalised = normalisation.on(part.inputs.device)
        self.augment = AUGMENTATIONS[settings.augmentation]
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller than the others."""
        return -(-len(self.part) // self.settings.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, device = len(self.part), self.part.targets.device
        if self.generator is None:
            order = torch.arange(count, device=device)
        else:
            order = torch.randperm(count, generator=self.generator).to(device)
        for chosen in torch.split(order, self.settings.batch_size):
            if self.generator is not None and len(chosen) == 1 and count > 1:
                continue  # batch norm cannot train on one item
            yield self._inputs(chosen), self.part.targets[chosen]

    def _inputs(self, chosen: Tensor) -> Tensor:
        inputs = self.part.inputs[chosen]
        if self.normalised is not None:
            inputs = self.normalised(inputs)
        return inputs if self.generator is None else self.augment(inputs, self.generator)


class HasTensors(Protocol):
    """A split as inputs and targets: ``Tensors``, and ``Images``."""

    @property
    def inputs(self) -> Tensor: ...  # noqa: D102
    @property
    def targets(self) -> Tensor: ...  # noqa: D102


class TensorData:
    """Three splits in memory, on the training device.

    Args:
        parts: ``train``, ``valid`` and ``test``.
        settings: batch size and augmentation.
        normalisation: of uint8 images; ``None`` takes inputs as they are.
        preprocessing: how a picture becomes an input, for export; ``None`` where it is unknown.
        classes: names of the classes, where targets are one class per item.
        device: where training runs.

    Attributes:
        device: where batches are delivered.
        example: up to four inputs of ``valid``.
        preprocessing: as given.

    Raises:
        ConfigurationError: a split is missing or empty, or the augmentation does not fit.

    Example:
        >>> part = Tensors(torch.rand(10, 3), torch.rand(10))
        >>> data = TensorData({"train": part, "valid": part, "test": part})
        >>> data.sizes["train"], list(data.example.shape)
        (10, [4, 3])
    """

    def __init__(
        self,
        parts: Mapping[str, HasTensors],
        settings: BatchSettings | None = None,
        *,
        normalisation: Normalisation | None = None,
        preprocessing: Preprocessing | None = None,
        classes: tuple[str, ...] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.settings = settings or BatchSettings()
        self.normalisation = normalisation
        self.preprocessing = preprocessing
        self.classes = classes
        _check(parts, self.settings)
        self.parts = {
            name: Tensors(parts[name].inputs.to(device), parts[name].targets.to(device))
            for name in SPLITS
        }
        self.valid: Loader = self._loader(self.parts["valid"], None)
        self.test: Loader = self._loader(self.parts["test"], None)
        self.example = example_of(self.valid)

    def __repr__(self) -> str:
        return in_short(self, self.sizes)

    def _loader(self, part: Tensors, seed: int | None) -> TensorLoader:
        return TensorLoader(part, self.settings, self.normalisation, seed=seed)

    def train(self, seed: int) -> Loader:
        """Return shuffled and augmented training batches, which derive from ``seed`` alone."""
        return self._loader(self.parts["train"], seed)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of items by split."""
        return {name: len(part) for name, part in self.parts.items()}

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield batches of training inputs without augmentation, the same ones every time.

        Args:
            count: how many inputs, or all where there are fewer.
        """
        train = self.parts["train"]
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        chosen = torch.randperm(len(train), generator=generator)[:count].to(self.device)
        for inputs, _ in self._loader(train.take(chosen), None):
            yield inputs

    def fingerprint(self) -> str:
        """Return a sha256 of all inputs and targets, of the normalisation and the classes."""
        found = Fingerprint()
        found.add([list(self.classes), self.preprocessing and repr(self.preprocessing)])
        found.add(repr(self.normalisation))
        for part in self.parts.values():
            found.add([part.inputs, part.targets])
        return found.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return shape of an input, batch size, augmentation and, where there are any, classes."""
        known: dict[str, Any] = {
            "shape": list(self.example.shape[1:]),
            "batch_size": self.settings.batch_size,
            "augmentation": self.settings.augmentation,
        }
        return {**known, "classes": list(self.classes)} if self.classes else known


def _check(parts: Mapping[str, HasTensors], settings: BatchSettings) -> None:
    missing = [name for name in SPLITS if name not in parts or not len(parts[name].targets)]
    if missing:
        raise ConfigurationError(
            f"expected items in train, valid and test, but {', '.join(missing)} has none"
        )
    AUGMENTATIONS[settings.augmentation]  # an unknown name is an error
    train = parts["train"]
    if settings.augmentation != "none" and (train.inputs.ndim != 4 or train.targets.ndim > 2):
        raise ConfigurationError(
            f"augmentation {settings.augmentation!r} moves images [n, channels, height, width] "
            f"and leaves targets alone; with inputs {list(train.inputs.shape)} and targets "
            f"{list(train.targets.shape)} it would part them. Give a torch Dataset that "
            "transforms both"
        )
