"""Random numbers that derive from a seed alone, whatever else draws in the same process."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices): same seed, same run on a CPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # fastai and user data sets draw from the global generator
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Source:
    """A global generator of random numbers.

    Attributes:
        get: returns its state.
        set: puts it into a state.
        seed: puts it into the state that derives from a number.
    """

    get: Callable[[], Any]
    set: Callable[[Any], Any]
    seed: Callable[[int], Any]


PYTHON = Source(random.getstate, random.setstate, random.seed)
NUMPY = Source(np.random.get_state, np.random.set_state, lambda s: np.random.seed(s % 2**32))


def of_torch(device: torch.device | str = "cpu") -> Source:
    """Return torch's global generator for a device."""
    device = torch.device(device)
    generator = torch.default_generator
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        generator = torch.cuda.default_generators[index]
    return Source(generator.get_state, generator.set_state, generator.manual_seed)


def all_sources(device: torch.device) -> tuple[Source, ...]:
    """Return every global generator that a data set may draw from."""
    on_device = (of_torch(device),) if device.type == "cuda" else ()
    return (PYTHON, NUMPY, of_torch(), *on_device)


class RandomStream:
    """A sequence of random numbers of its own, for code that draws from global generators.

    Args:
        seed: what it derives from.
        sources: the global generators that it stands in for.
    """

    def __init__(self, seed: int, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        outside = self._states()
        for source in self.sources:
            source.seed(seed)
        self._own = self._states()
        self._restore(outside)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let global generators go on where this stream was; afterwards they are as before."""
        outside = self._states()
        self._restore(self._own)
        try:
            yield
        finally:
            self._own = self._states()
            self._restore(outside)

    def _states(self) -> list[Any]:
        return [source.get() for source in self.sources]

    def _restore(self, states: Sequence[Any]) -> None:
        for source, state in zip(self.sources, states, strict=True):
            source.set(state)
