import gzip
import re
import struct
import sys
import textwrap

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from autocompress.data import load_data, load_splits
from autocompress.data.named import fashion_mnist, splits_from
from autocompress.data.resizing import pad, resize
from autocompress.data.settings import DataSettings
from autocompress.data.sources import cache_folder
from autocompress.errors import ConfigurationError
from autocompress.tasks import classification, regression


def test_digits_are_all_of_scikit_learns_in_three_splits():
    splits = load_splits("digits")
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [1079, 359, 359]
    assert (splits.channels, splits.image_size) == (1, 8)
    assert splits.classes == tuple("0123456789")
    parts = [splits.train, splits.valid, splits.test]
    images = torch.cat([part.images for part in parts]).flatten(1).numpy()
    expected = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, images)) == sorted(map(bytes, expected))


def test_splits_repeat_and_follow_the_seed():
    first, again = (load_splits("digits", seed=1, train_limit=50) for _ in range(2))
    other = load_splits("digits", seed=2, train_limit=50)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.valid.labels, again.valid.labels)
    assert not torch.equal(first.train.images, other.train.images)


def test_limits_and_sizes_are_kept_to():
    splits = load_splits("digits", image_size=16, train_limit=100, valid_limit=20, test_limit=30)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [100, 20, 30]
    assert splits.train.images.shape == (100, 1, 16, 16)
    assert set(splits.train.labels.tolist()) == set(range(10))


def test_mean_and_deviation_are_those_of_the_training_pixels():
    splits = load_splits("digits")
    pixels = splits.train.images.double().numpy() / 255
    assert splits.mean == pytest.approx((pixels.mean(),), abs=1e-12)
    assert splits.std == pytest.approx((pixels.std(),), abs=1e-12)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("cifar", "allowed: digits, fashion-mnist, imagenette, torchvision:NAME"),
        ("torchvision:CIFAR11", "did you mean 'CIFAR10'"),
        ("torchvision:VOCSegmentation", "no data set 'VOCSegmentation'"),
        ("folder:no/such/place", "no such folder"),
        ("no_such_module_at_all:load", "no module named"),
        ("folder:", "expected 'package.module:function'"),
    ],
)
def test_unknown_sources_are_clear(source, message):
    with pytest.raises(ConfigurationError, match=message):
        load_splits(source)


def test_all_wrong_numbers_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        load_splits("digits", image_size=0, train_limit=0, valid_limit=-1, test_limit=0)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "image_size", "train_limit", "valid_limit", "test_limit",
    ]  # fmt: skip


def test_a_limit_that_loses_a_class_is_refused():
    with pytest.raises(ConfigurationError, match="train: expected images of every class"):
        load_splits("digits", train_limit=5)


def test_downloads_go_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOCOMPRESS_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("AUTOCOMPRESS_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "autocompress"


# Fashion-MNIST


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def fashion(tmp_path):
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 120), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def splits_of_fashion(folder, image_size=None):
    source = fashion_mnist(image_size, folder)
    return splits_from("fashion-mnist", source, DataSettings(image_size=image_size), seed=0)


def test_fashion_mnist_is_read_from_its_files(fashion):
    splits = splits_of_fashion(fashion)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [100, 20, 20]
    assert splits.image_size == 28
    assert splits.classes[9] == "Ankle boot"


def test_fashion_mnist_is_padded_rather_than_blurred(fashion):
    original, padded = splits_of_fashion(fashion), splits_of_fashion(fashion, 32)
    assert torch.equal(padded.test.images[:, :, 2:30, 2:30], original.test.images)
    assert padded.test.images[:, :, :2].sum() == 0


@pytest.mark.parametrize("damage", ["missing", "no gzip", "wrong header", "truncated"])
def test_damaged_files_of_fashion_mnist_are_named(fashion, damage):
    path = fashion / "train-images-idx3-ubyte.gz"
    content = {
        "no gzip": b"text",
        "wrong header": gzip.compress(b"12345678" * 100),
        "truncated": gzip.compress(gzip.decompress(path.read_bytes())[:-1]),
    }
    path.unlink()
    if damage in content:
        path.write_bytes(content[damage])
    with pytest.raises(ConfigurationError, match=re.escape(str(path))):
        splits_of_fashion(fashion)


# torchvision


class FakeSet:
    """A data set as torchvision's are, without its download."""

    def __init__(self, length, sizes, mode="RGB"):
        self.items = [
            (Image.new(mode, sizes[i % len(sizes)], i if mode == "L" else (i, i, i)), i % 3)
            for i in range(length)
        ]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def put_into_torchvision(monkeypatch, tmp_path, kind):
    monkeypatch.setenv("AUTOCOMPRESS_DATA", str(tmp_path))
    monkeypatch.setattr(torchvision.datasets, "FakeSet", kind, raising=False)


def test_torchvision_sets_with_train_and_test(monkeypatch, tmp_path):
    class Kind(FakeSet):
        classes = ("x", "y", "z")

        def __init__(self, root, *, train=True, download=False):
            assert root == str(tmp_path / "FakeSet")
            assert download
            super().__init__(60 if train else 12, [(6, 6)])

    put_into_torchvision(monkeypatch, tmp_path, Kind)
    splits = load_splits("torchvision:FakeSet")
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [50, 10, 12]
    assert (splits.channels, splits.image_size, splits.classes) == (3, 6, ("x", "y", "z"))
    assert splits.train.images.amax() == 59


def test_torchvision_sets_with_named_splits_and_differing_sizes(monkeypatch, tmp_path):
    class Kind(FakeSet):
        def __init__(self, root, *, split="train", download=False):
            counts = {"train": 30, "val": 9, "test": 6}
            if split not in counts:
                raise ValueError(split)
            super().__init__(counts[split], [(6, 9), (7, 5)], "L")

    put_into_torchvision(monkeypatch, tmp_path, Kind)
    splits = load_splits("torchvision:FakeSet", image_size=8)
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [30, 9, 6]
    assert splits.train.images.shape == (30, 1, 8, 8)
    assert splits.classes == ("0", "1", "2")
    with pytest.raises(ConfigurationError, match=r"differ|one shape.*; give data.image_size"):
        load_splits("torchvision:FakeSet")


def test_a_failed_download_is_a_clear_error(monkeypatch, tmp_path):
    class Kind(FakeSet):
        def __init__(self, root, *, train=True, download=False):
            raise RuntimeError("no route to host")

    put_into_torchvision(monkeypatch, tmp_path, Kind)
    with pytest.raises(ConfigurationError, match=r"torchvision:FakeSet .* no route to host"):
        load_splits("torchvision:FakeSet")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_imagenette_takes_the_smallest_version_that_suffices(monkeypatch, tmp_path):
    from fastai.data import external

    asked = []

    def fetched(url):
        asked.append(url)
        for split, count in (("train", 6), ("val", 2)):
            for name in ("n01440764", "n03888257"):
                folder = tmp_path / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    Image.new("RGB", (20, 10), (9 * i, 40 + i, 80 * i % 255)).save(
                        folder / f"{i}.png"
                    )
        return tmp_path

    monkeypatch.setattr(external, "untar_data", fetched)
    splits = load_splits("imagenette", image_size=128)
    load_splits("imagenette", image_size=224)
    load_splits("imagenette", image_size=400)
    assert [url.rsplit("/", 1)[1] for url in asked] == [
        "imagenette2-160.tgz", "imagenette2-320.tgz", "imagenette2.tgz",
    ]  # fmt: skip
    assert splits.classes == ("tench", "parachute")
    assert [len(p) for p in (splits.train, splits.valid, splits.test)] == [10, 2, 4]


# functions of the user's


@pytest.fixture
def user_data(tmp_path, monkeypatch):
    """Write a function that returns the given expression; return its reference."""
    monkeypatch.chdir(tmp_path)

    def write(expression, arguments=""):
        source = f"""
            import numpy as np, torch
            from autocompress.data import Images, Splits
            images = np.arange(40 * 16).reshape(40, 4, 4).astype(np.uint8)
            labels = np.arange(40) % 2
            def get({arguments}):
                return {expression}
            """
        (tmp_path / "mine_data.py").write_text(textwrap.dedent(source))
        sys.modules.pop("mine_data", None)
        return "mine_data:get"

    yield write
    sys.modules.pop("mine_data", None)


@pytest.mark.parametrize(
    ("expression", "sizes"),
    [
        ("(images, labels)", (24, 8, 8)),
        ("(torch.tensor(images)[:, None], torch.tensor(labels, dtype=torch.int32))", (24, 8, 8)),
        ("((images, labels), (images[:4], labels[:4]), (images[:6], list(labels[:6])))",
         (40, 4, 6)),
        ("{'train': (images, labels), 'test': (images[:6], labels[:6])}", (33, 7, 6)),
    ],
)  # fmt: skip
def test_users_functions_may_return_arrays(user_data, expression, sizes):
    splits = load_splits(user_data(expression))
    assert tuple(len(p) for p in (splits.train, splits.valid, splits.test)) == sizes
    assert splits.classes == ("0", "1")
    assert splits.train.images.shape[1:] == (1, 4, 4)


def test_users_functions_may_name_classes_and_take_the_size(user_data):
    source = user_data(
        "{'train': (np.kron(images, np.ones((1, image_size // 4, image_size // 4), np.uint8)), "
        "labels), 'classes': ['cat', 'dog']}",
        "image_size",
    )
    splits = load_splits(source, image_size=8)
    assert splits.classes == ("cat", "dog")
    assert splits.image_size == 8


def test_users_functions_may_return_splits(user_data):
    source = user_data(
        "Splits(train=p, valid=p, test=p, classes=('a', 'b'), channels=1, image_size=4, "
        "mean=(0.5,), std=(0.1,))",
        "p=Images(torch.tensor(images)[:, None], torch.tensor(labels))",
    )
    splits = load_splits(source, valid_limit=10)
    assert (len(splits.train), len(splits.valid)) == (40, 10)
    assert splits.mean == (0.5,)
    with pytest.raises(ConfigurationError, match=r"4 pixels .* data.image_size is 8"):
        load_splits(source, image_size=8)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("None", "data set 'mine_data:get': expected fastai's DataLoaders; .* got NoneType"),
        ("{'train': images}", "train: expected a pair"),
        ("{'dev': (images, labels)}", "expected the splits 'train'"),
        ("(images / 255, labels)", "expected images as uint8 .* not torch.float64"),
        ("(np.zeros((40, 32, 32, 3), np.uint8), labels)", "channels last"),
        ("(images, labels[:3])", "label for each of 40 images"),
        ("(images, labels / 2)", "a whole number as label"),
        ("(images, labels * 2 - 1)", "labels from 0 to"),
        ("(images, labels * 0)", "at least 2 classes"),
        ("(images, labels * 2)", "none of 1 among"),
        ("(images[:, :3], labels)", "expected square images"),
        ("('text', labels)", "arrays or tensors of numbers"),
        ("(images[:0], labels[:0])", "classes, not 0"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_a_users_function_returns_is_checked(user_data, expression, message):
    with pytest.raises(ConfigurationError, match=message):
        load_splits(user_data(expression))


def test_functions_may_return_what_python_takes(user_data):
    inputs = "torch.rand(30, 5), torch.rand(30)"
    data = load_data(user_data(f"({inputs})"), task=regression(), batch_size=7, device="cpu")
    assert data.sizes == {"train": 18, "valid": 6, "test": 6}
    assert len(next(iter(data.valid))[0]) == 6
    loader = "torch.utils.data.DataLoader([(torch.ones(3) * i, i % 2) for i in range(8)], 4)"
    source = user_data(f"({loader}, {loader}, {loader})")
    assert load_data(source, device="cpu").sizes == {"train": 8, "valid": 8, "test": 8}
    with pytest.raises(ConfigurationError, match="tuple, which train_limit cannot change"):
        load_data(source, train_limit=5, device="cpu")
    with pytest.raises(ConfigurationError, match="augment by themselves"):
        load_data(source, augmentation="shift", device="cpu")
    data = load_data(user_data("(images, labels)"), task=classification(2), device="cpu")
    assert data.describe()["classes"] == ["0", "1"]


def test_settings_are_checked_together():
    with pytest.raises(ConfigurationError) as caught:
        load_data("digits", batch_size=0, mean=[0.5])
    assert caught.value.problems == (
        "batch_size: expected a whole number of at least 1, got 0",
        "expected mean and std with one number for each channel, or neither; got 1 and no numbers",
    )


# pixels


def test_resizing_a_constant_keeps_it_and_shrinking_averages():
    constant = torch.full((3, 2, 8, 8), 77, dtype=torch.uint8)
    assert (resize(constant, 12) == 77).all()
    blocks = torch.tensor([0, 100, 200, 50]).byte().view(1, 1, 2, 2)
    large = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert (resize(large, 4)[0, 0, ::3, ::3] == blocks[0, 0]).all()


def test_padding_centres():
    padded = pad(torch.ones(1, 1, 3, 4, dtype=torch.uint8), 6)
    assert padded[0, 0, 1:4, 1:5].all()
    assert padded.sum() == 12
