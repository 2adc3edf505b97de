"""Loaders of the user's, checked and made to repeat."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from autocompress.data.protocol import Batch
from autocompress.data.randomness import RandomStream
from autocompress.errors import ConfigurationError


class SeededLoader:
    """Yields what another loader does, on a device, with random numbers of its own.

    Order and augmentation then derive from a seed, whether they draw from the generators of
    Python, NumPy or torch, from the loader's own, or in worker processes.

    Args:
        loader: yields pairs (inputs, targets); a torch ``DataLoader``, one of fastai's, or any
            object that can be iterated again and has a length.
        stream: the random numbers.
        device: where batches are delivered.
        name: of the split, for messages.
        reseed: whether the loader's own generators start from the stream at each iteration.
    """

    def __init__(
        self,
        loader: Any,
        stream: RandomStream,
        device: torch.device,
        *,
        name: str,
        reseed: bool = True,
    ) -> None:
        self.loader = loader
        self.stream = stream
        self.device = device
        self.name = name
        self.reseed = reseed

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        with self.stream.active():
            if self.reseed:
                reseed_generators(self.loader)
            iterator = iter(self.loader)
        while True:
            with self.stream.active():
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            yield delivered(batch, self.device, self.name)


class RepeatedLoader:
    """Yields the same batches at every iteration, as ``SeededLoader`` does at the first one."""

    def __init__(self, loader: Any, sources: Any, device: torch.device, *, name: str) -> None:
        self.loader = loader
        self.sources = sources
        self.device = device
        self.name = name

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        stream = RandomStream(0, self.sources)
        return iter(SeededLoader(self.loader, stream, self.device, name=self.name))


def reseed_generators(loader: Any) -> None:
    """Start the generators that a loader, or its sampler, keeps for itself; draws from Python's.

    A torch ``DataLoader`` may have a ``generator``, and so may its sampler; fastai's have ``rng``.
    """
    sampler = getattr(loader, "sampler", None)
    for holder in (
        loader,
        sampler,
        getattr(getattr(loader, "batch_sampler", None), "sampler", None),
    ):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(random.getrandbits(32))
    if isinstance(getattr(loader, "rng", None), random.Random):
        loader.rng = random.Random(random.getrandbits(32))


def delivered(batch: Any, device: torch.device, name: str) -> Batch:
    """Check a batch, and return it as plain tensors on the device.

    Raises:
        ConfigurationError: it is no pair (inputs, targets), or the inputs are no tensor.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ConfigurationError(
            f"{name}: expected batches as pairs (inputs, targets), not {_described(batch)}; a "
            "collate_fn of the loader can bring them into this form"
        )
    inputs, targets = batch
    if not isinstance(inputs, Tensor):
        raise ConfigurationError(
            f"{name}: expected a tensor [batch, ...] as inputs, not {_described(inputs)}; a "
            "network with several inputs needs a wrapper that takes them as one tensor"
        )
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ConfigurationError(
            f"{name}: expected inputs [batch, ...] of at least one item, not {list(inputs.shape)}"
        )

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.as_subclass(Tensor).to(device, non_blocking=True)

    return moved(inputs), tree_map(moved, targets)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dictionary with {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, Tensor):
        return f"one tensor {list(value.shape)}"
    if isinstance(value, tuple | list):
        inner = ", ".join(type(entry).__name__ for entry in value[:4])
        return f"a {type(value).__name__} of {len(value)} ({inner})"
    return type(value).__name__
