"""The contract of data."""

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from autocompress.data import Data, Loader
from autocompress.data.randomness import seed_everything

SPLITS = ("train", "valid", "test")
CALIBRATED = 5  # items asked for
HEX_DIGITS = 64  # of a sha256


def check_data(data: Data) -> None:
    """Check that data keep their contract.

    Training batches derive from their seed alone, also where loaders of two seeds are used in
    turns and other code draws random numbers. Batches of ``valid`` and ``test`` come in one
    order. Inputs are plain tensors on the device, sizes are right, ``example`` holds the first
    inputs of ``valid``, calibration and fingerprint repeat, and ``describe`` is plain.

    Args:
        data: the implementation, with at least two training batches.

    Raises:
        AssertionError: something is not as promised; the message says what.

    Example:
        >>> from autocompress.data import load_data
        >>> check_data(load_data("digits", train_limit=200, device="cpu"))
    """
    _check_training(data)
    for name in ("valid", "test"):
        loader = getattr(data, name)
        _check_order(loader, data.device, name)
        counted = sum(len(inputs) for inputs, _ in loader)
        found_size = data.sizes.get(name)
        assert found_size == counted, f"sizes: {name} has {counted} items, not {found_size}"
    assert set(data.sizes) == set(SPLITS), f"sizes: expected {SPLITS}, got {list(data.sizes)}"
    _check_example(data)
    _check_calibration(data)
    printed = [data.fingerprint() for _ in range(2)]
    assert printed[0] == printed[1], "the fingerprint differs between two calls"
    digits = len(printed[0]) == HEX_DIGITS and set(printed[0]) <= set("0123456789abcdef")
    assert digits, f"the fingerprint is no sha256: {printed[0]!r}"
    try:
        facts = json.loads(json.dumps(data.describe()))
    except TypeError as error:
        raise AssertionError(f"describe() holds what JSON cannot: {error}") from error
    classes = facts.get("classes", [])
    assert isinstance(classes, list), f"describe()['classes'] is {type(classes).__name__}"


def _check_training(data: Data) -> None:
    def two_epochs(seed: int) -> Iterator[Any]:
        loader = data.train(seed)
        for _ in range(2):
            yield from loader

    seed_everything(1)
    first = _flat(two_epochs(1), data.device, "train")
    seed_everything(99)  # what other code draws must not matter
    assert _equal(first, _flat(two_epochs(1), data.device, "train")), (
        "train(1) gives other batches the second time: they do not derive from the seed alone"
    )
    one, other = data.train(1), data.train(2)
    turns = (batch for batch, _ in zip(one, other, strict=False))
    taken = _flat(turns, data.device, "train")
    assert _equal(first[: len(taken)], taken), (
        "train(1) and train(2) disturb each other when they are used in turns"
    )
    assert not _equal(first, _flat(two_epochs(2), data.device, "train")), (
        "train(1) and train(2) give the same batches: the order does not depend on the seed"
    )
    loader = data.train(0)
    batches = sum(1 for _ in loader)
    assert 0 <= len(loader) - batches <= 1, f"len of train is {len(loader)}, it yields {batches}"


def _check_order(loader: Loader, device: torch.device, name: str) -> None:
    seed_everything(1)
    first = _flat(iter(loader), device, name)
    seed_everything(98)
    again = _flat(iter(loader), device, name)
    assert _equal(first, again), f"{name}: batches differ between two passes"
    assert len(loader) == len(first), f"len of {name} is {len(loader)}, it yields {len(first)}"


def _check_example(data: Data) -> None:
    example = data.example
    assert len(example) >= 2, f"example: expected at least 2 inputs, not {len(example)}"
    assert example.device.type == data.device.type, f"example is on {example.device}"
    inputs, _ = next(iter(data.valid))
    assert example.shape[1:] == inputs.shape[1:], (
        f"example holds inputs {list(example.shape[1:])}, valid {list(inputs.shape[1:])}"
    )
    assert torch.equal(example[0], inputs[0]), "example is not the first inputs of valid"


def _check_calibration(data: Data) -> None:
    seed_everything(1)
    first = list(data.calibration(CALIBRATED))
    seed_everything(97)
    again = list(data.calibration(CALIBRATED))
    count = sum(map(len, first))
    least = min(CALIBRATED, data.sizes["train"])
    assert least <= count <= least + len(first[0]), f"calibration({CALIBRATED}) gave {count} items"
    same = _equal([tuple(first)], [tuple(again)])
    assert same, "calibration gives other inputs the second time"
    assert first[0].shape[1:] == data.example.shape[1:], (
        "calibration gives inputs of another shape"
    )


def _flat(batches: Iterator[Any], device: torch.device | None, name: str) -> list[Any]:
    """Return batches as lists of their tensors, after a look at each."""
    found = []
    for batch in batches:
        assert isinstance(batch, tuple), f"{name}: a batch is a {type(batch).__name__}, no tuple"
        assert len(batch) == 2, f"{name}: a batch has {len(batch)} entries, not 2"
        inputs = batch[0]
        assert type(inputs) is Tensor, f"{name}: inputs are {type(inputs).__name__}, no Tensor"
        leaves = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
        strangers = [leaf for leaf in leaves if device and leaf.device.type != device.type]
        assert not strangers, f"{name}: a batch is on {strangers and strangers[0].device}"
        found.append(tuple(leaf.clone() for leaf in leaves))
    assert found, f"{name}: there are no batches"
    return found


def _equal(first: list[Any], second: list[Any]) -> bool:
    if len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    return all(
        len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in pairs
    )
