"""Data from loaders and data sets of the user's: taken as they are, and made to repeat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from autocompress.data.batches import (
    CALIBRATION_SEED,
    BatchSettings,
    default_device,
    example_of,
    in_short,
)
from autocompress.data.fingerprints import Fingerprint
from autocompress.data.halves import Coins, HalfLoader, warn_of_halves
from autocompress.data.preprocessing import Preprocessing
from autocompress.data.protocol import Loader
from autocompress.data.randomness import RandomStream, all_sources
from autocompress.data.seeded import RepeatedLoader, SeededLoader
from autocompress.errors import ConfigurationError


class LoaderData:
    """Three splits behind loaders of the user's: torch's, fastai's, or any that work alike.

    Nothing is normalised or augmented here: batches are what the loaders yield. Training batches
    of a seed repeat, also where the loaders shuffle and augment, and validation batches are the
    same at every pass. Worker processes that persist between passes
    (``persistent_workers=True``) keep their own random numbers, so that augmentation in them
    does not repeat.

    Args:
        train: yields pairs (inputs, targets): a tensor ``[batch, ...]``, and anything.
        valid: the same, in order.
        test: the same; ``None``: half of the items of ``valid`` take its place, which a message
            says.
        device: where training runs; by default the GPU where there is one.
        classes: names of the classes, where targets are one class per item.
        seed: of the choice of the halves.

    Attributes:
        device: where batches are delivered.
        example: up to four inputs of ``valid``.
        preprocessing: ``None``: how a picture becomes an input is the loaders' business.

    Raises:
        ConfigurationError: a loader has no length or cannot be iterated, or its first batch is no
            pair.
    """

    preprocessing: Preprocessing | None = None

    def __init__(
        self,
        train: Any,
        valid: Any,
        test: Any = None,
        *,
        device: torch.device | str | None = None,
        classes: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.device = default_device() if device is None else torch.device(device)
        self.classes = tuple(map(str, classes))
        self._train = _checked(train, "train")
        self._sources = all_sources(self.device)
        valid = self._repeated(valid, "valid")
        if test is None:
            warn_of_halves()
            coins = Coins(seed)
            self.valid: Loader = HalfLoader(valid, coins, valid=True)
            self.test: Loader = HalfLoader(valid, coins, valid=False)
        else:
            self.valid, self.test = valid, self._repeated(test, "test")
        self.example = example_of(self.valid)

    def _repeated(self, loader: Any, name: str) -> Loader:
        return RepeatedLoader(_checked(loader, name), self._sources, self.device, name=name)

    def train(self, seed: int) -> Loader:
        """Return training batches; what is random in the loader derives from ``seed`` alone."""
        stream = RandomStream(seed, self._sources)
        return SeededLoader(self._train, stream, self.device, name="train")

    def __repr__(self) -> str:
        return in_short(self, {name: look.count for name, look in self._looks.items()})

    @property
    def sizes(self) -> dict[str, int]:
        """Number of items by split; of training items, how many there are in the data set."""
        counts = {name: look.count for name, look in self._looks.items()}
        return {"train": self._train_size, **counts}

    @cached_property
    def _train_size(self) -> int:
        try:
            return len(self._train.dataset)
        except (AttributeError, TypeError):
            return sum(len(inputs) for inputs, _ in self.train(0))

    @cached_property
    def _looks(self) -> dict[str, "_Look"]:
        """What one pass over valid and test shows."""
        return {"valid": _look(self.valid), "test": _look(self.test)}

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield training inputs as the loader makes them, the same ones every time.

        What the loader augments stays augmented.

        Args:
            count: how many inputs, or all where there are fewer.
        """
        left = count
        for inputs, _ in self.train(CALIBRATION_SEED):
            yield inputs[:left]
            left -= len(inputs)
            if left <= 0:
                return

    def fingerprint(self) -> str:
        """Return a sha256 of what valid and test yield, and of the number of training items.

        Training items themselves are left out: they may be augmented at random.
        """
        found = Fingerprint()
        found.add([list(self.classes), self._train_size])
        found.add([look.digest for look in self._looks.values()])
        return found.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return shape of an input and, where they are known, names of the classes."""
        known: dict[str, Any] = {"shape": list(self.example.shape[1:])}
        return {**known, "classes": list(self.classes)} if self.classes else known


class DatasetData(LoaderData):
    """Three torch ``Dataset``s of pairs (input, target), with their own transforms.

    Training items come in an order that derives from the seed; a last batch of one item is left
    out, since batch norm cannot train on it.

    Args:
        train: has ``__getitem__`` and ``__len__``; its transforms may augment.
        valid: the same.
        test: the same; ``None``: half of the items of ``valid`` take its place, which a message
            says.
        settings: batch size; data sets of the user's augment by themselves.
        device: where training runs; by default the GPU where there is one.
        classes: names of the classes, where targets are one class per item.
        seed: of the choice of the halves.

    Raises:
        ConfigurationError: a split is empty, or its items are no pairs.
    """

    def __init__(
        self,
        train: Any,
        valid: Any,
        test: Any = None,
        *,
        settings: BatchSettings | None = None,
        device: torch.device | str | None = None,
        classes: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        size = (settings or BatchSettings()).batch_size
        if test is None:
            warn_of_halves()
            coins, positions = Coins(seed), range(len(valid))
            test = Subset(valid, [i for i in positions if not coins[i]])
            valid = Subset(valid, [i for i in positions if coins[i]])
        empty = [n for n, d in (("train", train), ("valid", valid), ("test", test)) if not len(d)]
        if empty:
            raise ConfigurationError(f"{', '.join(empty)}: expected at least 1 item, not 0")
        single = len(train) > 1 and len(train) % size == 1
        super().__init__(
            DataLoader(train, size, shuffle=True, drop_last=single and size > 1),
            DataLoader(valid, size),
            DataLoader(test, size),
            device=device,
            classes=classes,
            seed=seed,
        )


@dataclass(frozen=True)
class _Look:
    count: int
    digest: str


def _look(loader: Loader) -> _Look:
    count, found = 0, Fingerprint()
    for inputs, targets in loader:
        count += len(inputs)
        found.add([inputs, targets])
    return _Look(count, found.hexdigest())


def _checked(loader: Any, name: str) -> Any:
    try:
        iterable, length = callable(getattr(type(loader), "__iter__", None)), len(loader)
    except TypeError:
        iterable, length = False, 0
    if not iterable or isinstance(loader, Iterator):
        raise ConfigurationError(
            f"{name}: expected a loader that can be iterated again and again and has a length, "
            f"such as a torch DataLoader over a data set with __len__, not {type(loader).__name__}"
        )
    if length == 0:
        raise ConfigurationError(f"{name}: expected at least 1 batch, not 0")
    return loader
