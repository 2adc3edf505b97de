import numpy as np
import pytest
import torch
from PIL import Image

from autocompress import datasets
from autocompress.training.batches import BatchSettings, augment, make_batches


def test_batches_are_normalised_with_the_training_statistics(digits):
    batches = make_batches(digits, BatchSettings(batch_size=64), device="cpu")
    images = torch.cat([x for x, _ in batches.train])
    assert images.dtype == torch.float32
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-2)


def test_every_training_image_comes_once_per_epoch(digits):
    batches = make_batches(digits, BatchSettings(batch_size=70), device="cpu")
    labels = torch.cat([y for _, y in batches.train])
    assert torch.equal(labels.sort().values, digits.train.labels.sort().values)
    assert len(batches.train) == -(-len(digits.train.labels) // 70)


def test_validation_keeps_its_order(batches, digits):
    assert torch.equal(torch.cat([y for _, y in batches.valid]), digits.valid.labels)


def test_the_same_seed_gives_the_same_order(batches):
    first, again, other = (next(iter(batches.reseeded(s).train))[1] for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_shift_moves_pixels_by_at_most_an_eighth():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = augment(images, "shift", generator)
    rows, columns = moved.nonzero()[:, 2], moved.nonzero()[:, 3]
    assert len(rows) == 200
    assert {*rows.tolist()} == {6, 7, 8, 9, 10} == {*columns.tolist()}


def test_flip_mirrors_about_half():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(400, 1, 8, 8)
    images[..., 1] = 1
    columns = augment(images, "shift_flip", generator).amax(dim=(1, 2)).argmax(1)
    assert 150 < int((columns > 3).sum()) < 250


def test_an_image_is_left_alone_without_augmentation():
    images = torch.randn(3, 1, 8, 8)
    assert augment(images, "none", torch.Generator()) is images


def test_files_are_cropped_at_their_centre_alike_every_time(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(6):
            pixels = torch.randint(0, 256, (20, 51, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / name / f"{index}.png")
    splits = datasets.load(f"folder:{tmp_path}", image_size=10)
    batches = make_batches(splits, BatchSettings(batch_size=8), device="cpu")
    with Image.open(splits.valid.paths[0]) as image:
        box = (15, 0, 35, 20)  # the left one of the two squares around the centre
        expected = torch.tensor(np.asarray(image.crop(box).resize((10, 10), Image.BILINEAR)))
    first, again = (next(iter(batches.valid))[0] for _ in range(2))
    assert torch.equal(first, again)
    scaled = (expected.permute(2, 0, 1) / 255 - torch.tensor(splits.mean).view(3, 1, 1)) / (
        torch.tensor(splits.std).view(3, 1, 1)
    )
    torch.testing.assert_close(torch.Tensor(first[0]), scaled, rtol=0, atol=1e-5)


def test_folders_of_images_go_through_fastai(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        for split, count in (("train", 6), ("valid", 3), ("test", 3)):
            (tmp_path / split / label).mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(0, 255, (40, 50, 3), generator=generator).byte().numpy()
                Image.fromarray(pixels).save(tmp_path / split / label / f"{index}.png")
    splits = datasets.load(f"folder:{tmp_path}", image_size=32)
    batches = make_batches(
        splits, BatchSettings(batch_size=4, augmentation="shift_flip"), device="cpu"
    )
    images, labels = next(iter(batches.train))
    assert images.shape == (4, 3, 32, 32)
    assert labels.shape == (4,)
    assert torch.equal(torch.cat([y for _, y in batches.valid]), splits.valid.labels)
    assert batches.example.shape[1:] == (3, 32, 32)
