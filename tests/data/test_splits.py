from pathlib import Path

import pytest
import torch

from autocompress.data import ImageFiles, Images, Splits
from autocompress.data.cutting import complete, limit, stratified_order
from autocompress.errors import ConfigurationError


def some_images(labels, channels=1, side=4):
    labels = torch.tensor(labels, dtype=torch.int64)
    pixels = torch.arange(len(labels) * channels * side * side) % 251
    return Images(pixels.byte().view(len(labels), channels, side, side), labels)


def some_splits(**changes):
    part = some_images([0, 1, 1])
    fields = {
        "train": part, "valid": part, "test": part, "classes": ("a", "b"), "channels": 1,
        "image_size": 4, "mean": (0.5,), "std": (0.2,),
    }  # fmt: skip
    return Splits(**{**fields, **changes})


def test_splits_that_fit_are_accepted():
    assert len(some_splits().train) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a",)}, "at least 2 classes, not 1: a"),
        ({"classes": ("a", "b", "c")}, "train: .* there are none of c among 3 images"),
        ({"valid": some_images([0, 2])}, "valid: expected labels from 0 to 1 .* from 0 to 2"),
        ({"test": some_images([-1, 0])}, "test: expected labels from 0 to 1 .* from -1 to 0"),
        ({"test": some_images([])}, "test: expected at least 1 image"),
        ({"channels": 3}, r"expected images of shape \[3, 4, 4\]"),
        ({"image_size": 5}, r"expected images of shape \[1, 5, 5\]"),
        ({"mean": (0.1, 0.2)}, "mean: expected one value for each of 1 channels, not 2"),
        ({"std": (0.0,)}, "standard deviation above 0"),
        ({"test": ImageFiles((Path("x.png"),), torch.tensor([0]))}, "all as ImageFiles"),
    ],
)
def test_splits_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        some_splits(**changes)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), "expected images as uint8"),
        (torch.zeros(2, 4, 4).byte(), torch.tensor([0, 1]), "expected images as uint8"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0]), "int64 label for each of 2 images"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2), "int64 label"),
    ],
)
def test_images_check_themselves(images, labels, message):
    with pytest.raises(ConfigurationError, match=message):
        Images(images, labels)


def test_every_prefix_of_the_order_keeps_the_shares_of_the_classes():
    labels = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    order = stratified_order(labels, seed=3)
    assert torch.equal(order.sort().values, torch.arange(1000))
    for count in (50, 100, 333, 700):
        counts = labels[order[:count]].bincount(minlength=3)
        expected = torch.tensor([0.6, 0.3, 0.1]) * count
        assert (counts - expected).abs().max() <= 2


def test_the_order_depends_on_the_seed_only():
    labels = torch.tensor([0, 1] * 50)
    assert torch.equal(stratified_order(labels, 1), stratified_order(labels, 1))
    assert not torch.equal(stratified_order(labels, 1), stratified_order(labels, 2))


def pixels(part):
    return {tuple(image.flatten().tolist()) for image in part.images}


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (("train",), (60, 20, 20)),
        (("train", "test"), (83, 17, 30)),
        (("train", "valid"), (83, 17, 30)),
        (("train", "valid", "test"), (100, 30, 30)),
    ],
)
def test_missing_splits_are_cut_from_train_without_overlap(given, sizes):
    public = Images(torch.full((30, 1, 4, 4), 255).byte(), torch.tensor([0, 1] * 15))
    codes = torch.arange(100).byte().view(100, 1, 1, 1).expand(100, 1, 4, 4)
    train = Images(codes, torch.tensor([0, 1] * 50))
    parts = {"train": train, "valid": public, "test": public}
    made = complete({name: parts[name] for name in given}, seed=0)
    assert tuple(len(made[name]) for name in ("train", "valid", "test")) == sizes
    assert not pixels(made["train"]) & pixels(made["valid"])
    if given == ("train",):
        assert pixels(made["train"]) | pixels(made["valid"]) | pixels(made["test"]) == pixels(
            train
        )
    else:
        assert pixels(made["test"]) == pixels(public)


@pytest.mark.parametrize("names", [(), ("test",), ("train", "dev")])
def test_unknown_splits_are_refused(names):
    with pytest.raises(ConfigurationError, match="expected the splits 'train'"):
        complete({name: some_images([0, 1]) for name in names}, seed=0)


def test_limits_keep_the_shares_and_take_no_more_than_there_is():
    part = some_images([0] * 30 + [1] * 10)
    assert limit(part, None, 0) is part
    assert limit(part, 100, 0) is part
    limited = limit(part, 20, 0).labels.bincount().tolist()
    assert sum(limited) == 20
    assert abs(limited[0] - 15) <= 1


def test_files_can_be_taken_by_index():
    files = ImageFiles((Path("a"), Path("b"), Path("c")), torch.tensor([0, 1, 2]))
    taken = files.take(torch.tensor([2, 0]))
    assert taken.paths == (Path("c"), Path("a"))
    assert taken.labels.tolist() == [2, 0]
