import re

import numpy as np
import pytest
from PIL import Image

from autocompress.data import ImageFiles, load_splits
from autocompress.errors import ConfigurationError


def write_images(root, counts, *, mode="RGB", suffix=".png", size=(12, 10)):
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            pixels = generator.integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}{suffix}")


def test_class_folders_are_cut_into_three_splits(tmp_path):
    write_images(tmp_path, {"cat": 20, "dog": 10})
    splits = load_splits(f"folder:{tmp_path}", image_size=8)
    assert isinstance(splits.train, ImageFiles)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [18, 6, 6]
    assert (splits.classes, splits.channels, splits.image_size) == (("cat", "dog"), 3, 8)
    paths = {path for part in (splits.train, splits.valid, splits.test) for path in part.paths}
    assert len(paths) == 30
    for path, label in zip(splits.train.paths, splits.train.labels.tolist(), strict=True):
        assert path.parent.name == splits.classes[label]


@pytest.mark.parametrize("valid_name", ["valid", "val"])
def test_split_folders_are_taken_as_they_are(tmp_path, valid_name):
    for name, count in (("train", 6), (valid_name, 3), ("test", 2)):
        write_images(tmp_path / name, {"a": count, "b": count})
    splits = load_splits(f"folder:{tmp_path}", image_size=8)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [12, 6, 4]
    assert all(path.is_relative_to(tmp_path / valid_name) for path in splits.valid.paths)


def test_a_public_validation_set_becomes_the_test_set(tmp_path):
    write_images(tmp_path / "train", {"a": 6, "b": 6})
    write_images(tmp_path / "val", {"a": 3, "b": 3})
    splits = load_splits(f"folder:{tmp_path}", image_size=8)
    assert all(path.is_relative_to(tmp_path / "val") for path in splits.test.paths)
    assert all(path.is_relative_to(tmp_path / "train") for path in splits.valid.paths)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [10, 2, 6]


def test_too_few_images_are_reported_with_their_folder(tmp_path):
    write_images(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(ConfigurationError, match=rf"folder:{tmp_path}': valid: expected at least"):
        load_splits(f"folder:{tmp_path}", image_size=8)


def test_grey_images_have_one_channel(tmp_path):
    write_images(tmp_path, {"a": 6, "b": 6}, mode="L")
    splits = load_splits(f"folder:{tmp_path}", image_size=10)
    assert splits.channels == 1
    assert len(splits.mean) == len(splits.std) == 1


def test_mean_and_deviation_are_those_of_the_files(tmp_path):
    write_images(tmp_path, {"a": 10, "b": 10}, size=(9, 9))
    splits = load_splits(f"folder:{tmp_path}", image_size=9)
    pixels = np.stack([np.asarray(Image.open(p)) for p in splits.train.paths]) / 255
    assert splits.mean == pytest.approx(tuple(pixels.mean((0, 1, 2))), abs=1e-12)
    assert splits.std == pytest.approx(tuple(pixels.std((0, 1, 2))), abs=1e-12)


def test_hidden_files_and_folders_are_left_out(tmp_path):
    write_images(tmp_path, {"a": 5, "b": 5, ".cache": 3})
    (tmp_path / "a" / ".DS_Store").write_text("no image")
    assert load_splits(f"folder:{tmp_path}", image_size=8).classes == ("a", "b")


@pytest.mark.parametrize("damage", ["text", "empty", "truncated png", "truncated jpg"])
def test_damaged_files_are_named(tmp_path, damage):
    suffix = ".jpg" if damage.endswith("jpg") else ".png"
    write_images(tmp_path, {"a": 5, "b": 5}, suffix=suffix, size=(64, 64))
    path = tmp_path / "b" / f"3{suffix}"
    whole = path.read_bytes()
    path.write_bytes({"text": b"hello", "empty": b""}.get(damage, whole[: len(whole) // 2]))
    with pytest.raises(ConfigurationError, match=rf"1 of 10 files .*\s+{re.escape(str(path))}: "):
        load_splits(f"folder:{tmp_path}", image_size=8)


def test_many_damaged_files_are_counted(tmp_path):
    write_images(tmp_path, {"a": 5, "b": 5})
    for i in range(5):
        (tmp_path / "a" / f"{i}.png").write_bytes(b"")
        (tmp_path / "b" / f"{i}.txt").write_text("notes")
    with pytest.raises(ConfigurationError, match=r"(?s)10 of 15 files .* and 5 more"):
        load_splits(f"folder:{tmp_path}", image_size=8)


def test_what_a_folder_lacks_is_said(tmp_path):
    source = f"folder:{tmp_path}"
    with pytest.raises(ConfigurationError, match="one folder of images per class, found none"):
        load_splits(source, image_size=8)
    write_images(tmp_path, {"a": 5})
    with pytest.raises(ConfigurationError, match="at least 2 classes, not 1: a"):
        load_splits(source, image_size=8)
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigurationError, match=r"train: .* none of b"):
        load_splits(source, image_size=8)
    write_images(tmp_path, {"b": 5})
    with pytest.raises(ConfigurationError, match=r"need data\.image_size"):
        load_splits(source)


def test_a_class_unknown_to_train_is_refused(tmp_path):
    write_images(tmp_path / "train", {"a": 5, "b": 5})
    write_images(tmp_path / "test", {"a": 5, "c": 5})
    with pytest.raises(ConfigurationError, match="classes that train does not have: c"):
        load_splits(f"folder:{tmp_path}", image_size=8)
