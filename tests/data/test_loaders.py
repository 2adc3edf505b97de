"""Loaders and Datasets of the user's, fastai's and torch's."""

import logging
import random

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

from autocompress.data import DatasetData, LoaderData, TensorData, as_data, load_data
from autocompress.data.batches import BatchSettings
from autocompress.data.halves import Coins
from autocompress.errors import ConfigurationError
from autocompress.tasks import classification, regression, segmentation
from autocompress.testing.data import check_data

COUNT = 22


class Noisy(Dataset):
    """Items that are augmented with noise from three generators; masks or boxes as targets."""

    classes = ("cat", "dog")

    def __init__(self, count=COUNT, noise=1.0, target=lambda index: index % 2, shift=0):
        self.count, self.noise, self.target, self.shift = count, noise, target, shift

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        pixels = torch.full((3, 4, 4), float(index + self.shift)) + self.noise * noise
        return pixels, self.target(index)


def plain(**changes):
    return Noisy(noise=0.0, **changes)


def loaders(**changes):
    return DataLoader(Noisy(), 4, shuffle=True), DataLoader(plain(), 4), DataLoader(plain(), 5)


def boxes(index):
    return {"boxes": torch.full((1 + index % 2, 4), float(index)), "labels": torch.tensor([index])}


def lists(items):
    return torch.stack([item for item, _ in items]), [target for _, target in items]


def fastai():
    from fastai.data.load import DataLoader as FastaiLoader

    return DataLoaders(
        FastaiLoader(Noisy(), bs=4, shuffle=True), FastaiLoader(plain(), bs=4), device="cpu"
    )


def own_generators():
    generator, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)
    train = DataLoader(Noisy(), 4, shuffle=True, generator=generator)
    sampled = DataLoader(plain(), 4, sampler=RandomSampler(plain(), generator=other))
    return LoaderData(train, sampled, DataLoader(plain(), 4, shuffle=True), device="cpu")


def tensors():
    inputs = torch.rand(30, 5, generator=torch.Generator().manual_seed(0))
    return inputs, inputs.sum(1)


MAKERS = {
    "loaders": lambda: LoaderData(*loaders(), device="cpu"),
    "loaders without test": lambda: LoaderData(*loaders()[:2], device="cpu"),
    "own generators": own_generators,
    "workers": lambda: LoaderData(
        DataLoader(Noisy(), 4, shuffle=True, num_workers=2), *loaders()[1:], device="cpu"
    ),
    "fastai": lambda: as_data(fastai(), task=classification(), device="cpu"),
    "datasets": lambda: as_data(
        {"train": Noisy(), "valid": plain(), "test": plain(count=7)},
        task=classification(),
        batch_size=7,
        device="cpu",
    ),
    "datasets without test": lambda: as_data(
        (Noisy(), plain()), task=classification(), batch_size=4, device="cpu"
    ),
    "detection": lambda: LoaderData(
        *(DataLoader(plain(target=boxes), 4, shuffle=s, collate_fn=lists) for s in (True, False)),
        device="cpu",
    ),
    "masks": lambda: as_data(
        (
            Noisy(target=lambda i: torch.full((4, 4), i % 3)),
            plain(target=lambda i: torch.full((4, 4), i % 3)),
        ),
        task=segmentation(3),
        batch_size=4,
        device="cpu",
    ),
    "tensors": lambda: as_data(tensors(), task=regression(), batch_size=4, device="cpu"),
    "digits": lambda: load_data(
        "digits", train_limit=101, valid_limit=30, test_limit=20, batch_size=20,
        augmentation="shift_flip", device="cpu",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_the_contract_is_kept(name):
    check_data(MAKERS[name]())


def items_of(loader):
    return torch.cat([inputs[:, 0, 0, 0] for inputs, _ in loader]).tolist()


@pytest.mark.parametrize("name", ["loaders without test", "datasets without test", "fastai"])
def test_half_of_valid_becomes_test(name, caplog):
    with caplog.at_level(logging.WARNING, "autocompress"):
        data = MAKERS[name]()
    assert "there is no test split" in caplog.text
    valid, test = items_of(data.valid), items_of(data.test)
    assert sorted(valid + test) == list(range(COUNT))
    assert data.sizes == {"train": COUNT, "valid": COUNT // 2, "test": COUNT // 2}
    assert valid == sorted(valid)
    for first in range(0, COUNT, 2):  # one of each pair
        assert len({first, first + 1} & set(valid)) == 1
    assert 0 < sum(int(item) % 2 for item in valid) < len(valid)


def test_halves_derive_from_the_seed_and_are_the_same_for_loaders_and_data_sets():
    firsts = [[Coins(seed)[i] for i in range(40)] for seed in (0, 0, 1)]
    assert firsts[0] == firsts[1] != firsts[2]
    made = (LoaderData(*loaders()[:2], device="cpu"), MAKERS["datasets without test"]())
    assert items_of(made[0].test) == items_of(made[1].test)


def test_targets_of_the_halves_stay_with_their_items():
    data = MAKERS["detection"]()
    for loader in (data.valid, data.test):
        for inputs, targets in loader:
            assert [int(t["labels"]) for t in targets] == inputs[:, 0, 0, 0].int().tolist()


def test_training_does_not_disturb_other_random_numbers():
    data = LoaderData(*loaders(), device="cpu")
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    list(data.train(0)), list(data.valid)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_names_of_classes_are_found():
    task = classification()
    assert MAKERS["datasets"]().describe()["classes"] == ["cat", "dog"]
    assert as_data(loaders(), task=task, device="cpu").describe()["classes"] == ["cat", "dog"]
    assert "classes" not in as_data(loaders(), task=regression(), device="cpu").describe()
    unnamed = [DataLoader(TensorDataset(torch.rand(8, 3), torch.arange(8)), 4) for _ in range(3)]
    assert "classes" not in as_data(unnamed, task=task, device="cpu").describe()
    found = as_data(unnamed, task=classification(9), device="cpu").describe()["classes"]
    assert found == [str(i) for i in range(9)]
    assert "classes" not in MAKERS["masks"]().describe()  # one per pixel: no head to fit


def test_the_fingerprint_depends_on_what_is_yielded():
    def printed(valid, train_count=COUNT):
        train = DataLoader(Noisy(count=train_count), 4, shuffle=True)
        return LoaderData(train, DataLoader(valid, 4), loaders()[2], device="cpu").fingerprint()

    same, again = printed(plain()), printed(plain())
    assert same == again
    others = {printed(plain(shift=1)), printed(plain(target=lambda i: 0)), printed(plain(), 20)}
    assert len(others | {same}) == 4


def test_the_fingerprint_of_tensors_depends_on_every_number():
    def printed(change=None):
        inputs, targets = tensors()
        if change == "input":
            inputs[17, 3] += 1e-6
        if change == "target":
            targets[29] += 1
        data = as_data((inputs, targets), task=regression(), batch_size=4, device="cpu")
        return data.fingerprint()

    assert printed() == printed()
    assert len({printed(), printed("input"), printed("target")}) == 3


def test_data_are_taken_as_they_are():
    data = MAKERS["tensors"]()
    assert as_data(data, task=regression()) is data


@pytest.mark.parametrize("form", ["pair", "dictionary", "three pairs"])
def test_tensors_are_cut_where_splits_are_missing(form):
    images = torch.arange(40 * 48).view(40, 1, 6, 8).byte()
    labels = torch.arange(40).int() % 2
    pair = images, labels
    given = {
        "pair": pair,
        "dictionary": {"train": pair, "test": (images[:6], labels[:6]), "classes": ["a", "b"]},
        "three pairs": (pair, (images[:4], labels[:4]), (images[:6], list(labels[:6]))),
    }[form]
    data = as_data(given, task=classification(), batch_size=7, device="cpu")
    sizes = {"pair": [24, 8, 8], "dictionary": [33, 7, 6], "three pairs": [40, 4, 6]}[form]
    assert list(data.sizes.values()) == sizes
    names = ["a", "b"] if form == "dictionary" else ["0", "1"]
    assert data.describe()["classes"] == names
    inputs = torch.cat([inputs for inputs, _ in data.train(0)])
    assert inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.preprocessing is None  # only squares have one yet


def test_square_images_know_how_pictures_become_inputs():
    images = torch.arange(40 * 64).view(40, 1, 8, 8).byte()
    data = as_data((images, torch.arange(40) % 2), task=classification(), device="cpu")
    assert data.preprocessing.image_size == 8
    assert data.preprocessing.channels == 1
    assert [step.operation for step in data.preprocessing.steps] == ["stretch"]


def test_masks_are_no_labels():
    images, masks = torch.zeros(20, 3, 8, 8), torch.ones(20, 8, 8).long()
    data = as_data((images, masks), task=segmentation(3), device="cpu")
    assert isinstance(data, TensorData)
    assert "classes" not in data.describe()
    assert next(iter(data.valid))[1].shape == (4, 8, 8)
    with pytest.raises(ConfigurationError, match=r"leaves targets alone.*torch Dataset"):
        TensorData(data.parts, BatchSettings(augmentation="shift"))


class NoLength:
    def __iter__(self):
        return iter(())


def of_batches(*batches):
    return [DataLoader(list(batches), None) for _ in range(3)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "expected fastai's DataLoaders; or .*; got int"),
        ({"train": NoLength(), "dev": NoLength()}, "expected the splits .* not 'train', 'dev'"),
        ((NoLength(), NoLength()), "train: expected a loader that .*NoLength"),
        ((iter([]), iter([])), "train: expected a loader that can be iterated again"),
        ((Noisy(), loaders()[1]), "got train: Noisy, valid: DataLoader"),
        ({"train": Noisy()}, "there is no valid"),
        ((Noisy(), plain(count=0)), "valid: expected at least 1 item, not 0|valid"),
        (of_batches({"pixels": torch.ones(2, 3), "labels": torch.ones(2)}),
         r"valid: expected batches as pairs \(inputs, targets\), not a dictionary with pixel"),
        (of_batches((torch.ones(2, 3),) * 3), r"not a (tuple|list) of 3 \(Tensor, Tensor"),
        (of_batches(torch.ones(2, 3)), r"not one tensor \[2, 3\]"),
        (of_batches(([torch.ones(3)], torch.ones(2))), "a tensor .* as inputs, not a list"),
        ((torch.ones(4, 2), torch.ones(3)), r"train: .* not inputs \[4, 2\] and targets \[3\]"),
        ((torch.ones(9, 2).int(), torch.ones(9)), "floating-point numbers, or as uint8 images"),
        ((torch.ones(9, 1, 4, 4).byte(), torch.arange(9) % 2), "standard deviation above 0"),
        (("a", "b"), "got train: str, valid: str"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_reported(given, message):
    with pytest.raises(ConfigurationError, match=message):
        as_data(given, task=classification(), device="cpu")


def test_only_one_test_split_is_taken():
    data = as_data(loaders()[:2], task=classification(), test=loaders()[2], device="cpu")
    assert data.sizes["test"] == COUNT
    with pytest.raises(ConfigurationError, match="a test split already"):
        as_data(loaders(), task=classification(), test=loaders()[2])


def test_a_batch_of_one_training_item_is_left_out():
    data = DatasetData(
        Noisy(count=9), plain(), plain(), settings=BatchSettings(batch_size=4), device="cpu"
    )
    assert [len(inputs) for inputs, _ in data.train(0)] == [4, 4]


def test_an_example_has_two_inputs_at_least():
    one = DataLoader(plain(), 1)
    assert items_of([(LoaderData(*loaders()[:1], one, one, device="cpu").example, 0)]) == [0, 1]
    single = DataLoader(plain(count=1), 4)
    data = LoaderData(*loaders()[:1], single, single, device="cpu")
    assert items_of([(data.example, 0)]) == [0, 0]
