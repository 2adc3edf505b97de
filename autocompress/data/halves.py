"""Where there is no test split, one half of the validation items takes its place."""

import logging
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from autocompress.data.protocol import Batch, Loader
from autocompress.errors import ConfigurationError

logger = logging.getLogger(__name__)
NOTICE = (
    "there is no test split: of each two successive validation items, a coin that derives from "
    "the seed gives one to valid, which the search sees, and the other to test, which is opened "
    "at the end"
)


def warn_of_halves() -> None:
    """Say through :mod:`logging` that validation items are shared between valid and test."""
    logger.warning(NOTICE)


class Coins:
    """For each item by its position, whether it belongs to valid; else it belongs to test.

    Items of a class often follow one another: pairs keep the shares of the classes.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._first: list[bool] = []  # of each pair: whether its first item belongs to valid

    def __getitem__(self, position: int) -> bool:
        while len(self._first) <= position // 2:
            self._first.append(bool(self._random.getrandbits(1)))
        return self._first[position // 2] == (position % 2 == 0)


class HalfLoader:
    """Yields one half of the items of a loader, batch by batch.

    Args:
        loader: in order, the same at each iteration.
        coins: who gets which item.
        valid: whether this is the half for valid.
    """

    def __init__(self, loader: Loader, coins: Coins, *, valid: bool) -> None:
        self.loader = loader
        self.coins = coins
        self.valid = valid

    def __iter__(self) -> Iterator[Batch]:
        position = 0
        for inputs, targets in self.loader:
            size = len(inputs)
            kept = [i for i in range(size) if self.coins[position + i] == self.valid]
            position += size
            if kept:
                yield inputs[kept], _items(targets, kept, size)

    @cached_property
    def _length(self) -> int:
        return sum(1 for _ in self)

    def __len__(self) -> int:
        return self._length


def _items(targets: Any, kept: list[int], size: int) -> Any:
    """Return the targets of some items: rows of tensors, entries of lists."""
    if isinstance(targets, Tensor) and targets.ndim and len(targets) == size:
        return targets[torch.tensor(kept, device=targets.device)]
    if isinstance(targets, Mapping):
        return {key: _items(value, kept, size) for key, value in targets.items()}
    if isinstance(targets, list) and len(targets) == size:
        return [targets[index] for index in kept]
    if isinstance(targets, tuple):
        return tuple(_items(value, kept, size) for value in targets)
    raise ConfigurationError(
        "there is no test split, and validation batches cannot be cut in two: expected targets as "
        f"tensors or lists of {size} items, not {type(targets).__name__}; give a test split"
    )
