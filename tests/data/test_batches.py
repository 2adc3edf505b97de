import logging

import numpy as np
import pytest
import torch
from PIL import Image

from autocompress.data import BatchSettings, load_data, load_splits, make_data
from autocompress.data.augmentation import none, shift, shift_flip
from autocompress.data.fingerprints import Fingerprint, add_files
from autocompress.errors import ConfigurationError
from autocompress.testing.data import check_data


def test_batches_are_normalised_with_the_training_statistics(digits):
    data = make_data(digits, BatchSettings(batch_size=64))
    images = torch.cat([x for x, _ in data.train(0)])
    assert images.dtype == torch.float32
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-2)


def test_every_training_image_comes_once_per_epoch(digits):
    loader = make_data(digits, BatchSettings(batch_size=70)).train(0)
    labels = torch.cat([y for _, y in loader])
    assert torch.equal(labels.sort().values, digits.train.labels.sort().values)
    assert len(loader) == -(-len(digits.train.labels) // 70)


def test_validation_keeps_its_order(data, digits):
    assert torch.equal(torch.cat([y for _, y in data.valid]), digits.valid.labels)


def test_the_same_seed_gives_the_same_order(data):
    first, again, other = (next(iter(data.train(s)))[1] for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_order_is_that_of_release_0_1(data, digits):
    order = torch.randperm(600, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.cat([y for _, y in data.train(3)]), digits.train.labels[order])


def test_calibration_takes_training_images_without_augmentation(digits):
    data = make_data(digits, BatchSettings(batch_size=50, augmentation="shift_flip"))
    first, again = (torch.cat([*data.calibration(128)]) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first) == 128
    still = make_data(digits, BatchSettings(batch_size=50))
    train = {image.numpy().tobytes() for images, _ in still.train(0) for image in images}
    assert {image.numpy().tobytes() for image in first} <= train
    assert len(torch.cat([*data.calibration(10**6)])) == len(digits.train)


def test_shift_moves_pixels_by_at_most_an_eighth():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = shift(images, generator)
    rows, columns = moved.nonzero()[:, 2], moved.nonzero()[:, 3]
    assert len(rows) == 200
    assert {*rows.tolist()} == {6, 7, 8, 9, 10} == {*columns.tolist()}


def test_flip_mirrors_about_half():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(400, 1, 8, 8)
    images[..., 1] = 1
    columns = shift_flip(images, generator).amax(dim=(1, 2)).argmax(1)
    assert 150 < int((columns > 3).sum()) < 250


def test_an_image_is_left_alone_without_augmentation():
    images = torch.randn(3, 1, 8, 8)
    assert none(images, torch.Generator()) is images


def write_folder(root, size, counts, splits=("",)):
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        for split, count in zip(splits, counts, strict=True):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(0, 256, (*size, 3), generator=generator).byte().numpy()
                Image.fromarray(pixels).save(root / split / label / f"{index}.png")


def test_files_are_cropped_at_their_centre_alike_every_time(tmp_path):
    write_folder(tmp_path, (20, 51), [6])
    splits = load_splits(f"folder:{tmp_path}", image_size=10)
    data = make_data(splits, BatchSettings(batch_size=8))
    with Image.open(splits.valid.paths[0]) as image:
        box = (15, 0, 35, 20)  # the left one of the two squares around the centre
        expected = torch.tensor(np.asarray(image.crop(box).resize((10, 10), Image.BILINEAR)))
    first, again = (next(iter(data.valid))[0] for _ in range(2))
    assert torch.equal(first, again)
    scaled = (expected.permute(2, 0, 1) / 255 - torch.tensor(splits.mean).view(3, 1, 1)) / (
        torch.tensor(splits.std).view(3, 1, 1)
    )
    torch.testing.assert_close(first[0], scaled, rtol=0, atol=1e-5)


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, (40, 50), [6, 3, 3], ("train", "valid", "test"))
    return f"folder:{tmp_path}"


def test_folders_of_images_go_through_fastai(folder):
    splits = load_splits(folder, image_size=32)
    data = make_data(splits, BatchSettings(batch_size=4, augmentation="crop_flip"))
    images, labels = next(iter(data.train(0)))
    assert images.shape == (4, 3, 32, 32)
    assert labels.shape == (4,)
    assert torch.equal(torch.cat([y for _, y in data.valid]), splits.valid.labels)
    assert data.example.shape[1:] == (3, 32, 32)
    assert data.preprocessing == splits.preprocessing
    assert data.describe()["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("augmentation", ["none", "crop", "crop_flip"])
def test_files_keep_the_contract(folder, augmentation):
    settings = {"image_size": 16, "batch_size": 4, "augmentation": augmentation}
    check_data(load_data(folder, device="cpu", **settings))


@pytest.mark.parametrize(("old", "new"), [("shift", "crop"), ("shift_flip", "crop_flip")])
def test_files_keep_the_names_of_release_0_1_with_a_notice(folder, old, new, caplog):
    def made(name):
        return load_data(folder, device="cpu", image_size=16, batch_size=4, augmentation=name)

    plain = made(new)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "autocompress"):
        named = made(old)
    assert f"its name is '{new}' now" in caplog.text
    assert named.describe()["augmentation"] == new
    for ours, theirs in zip(named.train(5), plain.train(5), strict=True):
        assert torch.equal(ours[0], theirs[0])


def test_unknown_augmentations_are_reported_with_those_that_fit(folder):
    with pytest.raises(ConfigurationError, match=r"none, shift, .*, crop_flip, got 'shft'"):
        load_data(folder, device="cpu", image_size=16, augmentation="shft")
    with pytest.raises(
        ConfigurationError, match=r"in memory 'crop'.*allowed: none, shift, shift_"
    ):
        load_data("digits", device="cpu", augmentation="crop")


def test_the_fingerprint_of_files_depends_on_content_and_not_on_the_place(tmp_path):
    def printed(place, change=None):
        write_folder(tmp_path / place, (8, 8), [4, 2, 2], ("train", "valid", "test"))
        path = tmp_path / place / "train" / "cat" / "1.png"
        if change == "content":
            pixels = np.asarray(Image.open(path)).copy()
            pixels[0, 0, 0] ^= 1
            Image.fromarray(pixels).save(path)
        if change == "name":
            path.rename(path.with_name("11.png"))
        settings = {"image_size": 8, "mean": (0.5,) * 3, "std": (0.2,) * 3}
        return load_data(f"folder:{tmp_path / place}", device="cpu", **settings).fingerprint()

    first, second = printed("here"), printed("there")
    assert first == second
    assert len({first, printed("changed", "content"), printed("renamed", "name")}) == 3


def test_of_large_sets_of_files_a_sample_is_read(tmp_path):
    paths = [tmp_path / f"{i}.bin" for i in range(5)]
    for path in paths:
        path.write_bytes(b"12345")

    def printed(**limits):
        found = Fingerprint()
        add_files(found, paths, **limits)
        return found.hexdigest()

    def matters(path, **limits):
        before = printed(**limits)
        path.write_bytes(path.read_bytes()[::-1])
        return printed(**limits) != before

    assert sum(matters(path, read_fully=24, sample=3) for path in paths) == 3
    assert sum(matters(path, read_fully=25, sample=3) for path in paths) == 5
    assert sum(matters(path) for path in paths) == 5


def test_fingerprints_tell_order_types_and_shapes_apart():
    values = ([1, 2], [2, 1], [[1], 2], "1", 1, None, {"a": 1}, torch.tensor([1, 2]),
              torch.tensor([1.0, 2.0]), torch.tensor([[1, 2]]), torch.tensor(1))  # fmt: skip
    prints = set()
    for value in values:
        found = Fingerprint()
        found.add(value)
        prints.add(found.hexdigest())
    assert len(prints) == len(values)


def test_normalisation_that_is_given_is_used_and_changes_the_fingerprint():
    plain = load_data("digits", train_limit=100, device="cpu")
    given = load_data("digits", train_limit=100, device="cpu", mean=[0.5], std=[0.25])
    assert given.preprocessing.mean == (0.5,)
    pixels = given.parts["valid"].inputs[:4].float() / 255
    torch.testing.assert_close(given.example, (pixels - 0.5) / 0.25)
    assert plain.fingerprint() != given.fingerprint()
