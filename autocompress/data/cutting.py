"""Cutting data into splits so that each keeps the shares of the classes."""

from collections.abc import Mapping
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from autocompress.errors import ConfigurationError

HELD_OUT = 1 / 5  # of everything for valid, and as much for test, where there is one set only
VALID_OF_TRAIN = 1 / 6  # of the training set, where there is a test set but no validation set


class Cuttable(Protocol):
    """Items that can be cut into splits: images, files, tensors."""

    @property
    def labels(self) -> Tensor:
        """What cuts keep the shares of, int64 ``[n]``."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self:
        """Return the items at ``indices`` (int64 [k]), in that order."""


P = TypeVar("P", bound=Cuttable)


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """Return a shuffled order in which every prefix has about the same shares of classes.

    The i-th of a class's n images, shuffled, comes at the quantile (i + u) / n, u uniform in
    [0, 1), so that a prefix of k images holds each class's share of k to within one image, give
    or take the draw of u.

    Args:
        labels: int64 [n].
        seed: of the shuffle.

    Returns:
        A permutation, int64 [n].
    """
    generator = torch.Generator().manual_seed(seed)
    labels = labels.cpu()
    shuffled = torch.randperm(len(labels), generator=generator)
    quantiles = torch.empty(len(labels), dtype=torch.float64)
    draws = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    for label in set(labels.tolist()):
        members = shuffled[labels[shuffled] == label]
        ranks = torch.arange(len(members), dtype=torch.float64)
        quantiles[members] = (ranks + draws[members]) / len(members)
    return quantiles.argsort(stable=True)


def complete(parts: Mapping[str, P], seed: int) -> dict[str, P]:
    """Make ``train``, ``valid`` and ``test`` from the splits there are.

    Only ``train``: it is cut 60 / 20 / 20. ``train`` and ``test``: a sixth of ``train`` becomes
    ``valid``. ``train`` and ``valid``: the public validation set becomes ``test``, which the
    search must not see, and a sixth of ``train`` becomes ``valid``.

    Raises:
        ConfigurationError: there is no ``train``, or a split has an unknown name.
    """
    unknown = set(parts) - {"train", "valid", "test"}
    if unknown or "train" not in parts:
        raise ConfigurationError(
            f"expected the splits 'train' and, if there are any, 'valid' and 'test', not "
            f"{', '.join(map(repr, parts)) or 'none'}"
        )
    if len(parts) == 3:
        return dict(parts)
    train = parts["train"]
    order = stratified_order(train.labels, seed)
    if len(parts) == 1:
        held_out = round(HELD_OUT * len(train))
        valid, test, rest = torch.tensor_split(order, (held_out, 2 * held_out))
        return {"train": train.take(rest), "valid": train.take(valid), "test": train.take(test)}
    cut = round(VALID_OF_TRAIN * len(train))
    public = parts["test"] if "test" in parts else parts["valid"]
    return {"train": train.take(order[cut:]), "valid": train.take(order[:cut]), "test": public}


def limit(part: P, count: int | None, seed: int) -> P:
    """Return at most ``count`` images, with the shares of the classes kept; None keeps all."""
    if count is None or count >= len(part):
        return part
    return part.take(stratified_order(part.labels, seed)[:count])
