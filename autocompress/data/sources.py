"""What a named source gives, before it is cut, limited and resized."""

import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from autocompress.data.resizing import Step
from autocompress.data.splits import Images, Part
from autocompress.errors import ConfigurationError

FASHION_FOLDER = Path(
    "/usr/share/datasets/fashion-mnist"
)  # Debian's package dataset-fashion-mnist
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGITS_MAXIMUM = 16  # scikit-learn's digits are counts of 4x4 blocks of a binary bitmap


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Labelled images as their maker published them.

    Attributes:
        parts: ``train`` and, where they are published, ``valid`` and ``test``.
        classes: names of the classes.
        resizing: how the images in memory got their size.
    """

    parts: Mapping[str, Part]
    classes: tuple[str, ...]
    resizing: tuple[Step, ...] = ()


def cache_folder() -> Path:
    """Return where downloads are kept: $AUTOCOMPRESS_DATA, else ~/.cache/autocompress."""
    chosen = os.environ.get("AUTOCOMPRESS_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "autocompress"


def digits() -> Source:
    """Scikit-learn's 1,797 handwritten digits, 8x8 grey (Alpaydin & Kaynak 1998)."""
    loaded = load_digits()
    scaled = np.rint(loaded.images * (255 / DIGITS_MAXIMUM)).astype(np.uint8)
    images = Images(
        torch.from_numpy(scaled).unsqueeze(1), torch.from_numpy(loaded.target.astype(np.int64))
    )
    return Source({"train": images}, tuple(str(digit) for digit in range(10)))


def fashion_mnist_files(folder: Path) -> Source:
    """Fashion-MNIST (Xiao et al. 2017), 28x28 grey, from its four gzipped IDX files.

    Raises:
        ConfigurationError: a file is missing or is no IDX file of bytes.
    """
    parts: dict[str, Part] = {}
    for name, prefix in (("train", "train"), ("test", "t10k")):
        images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", dimensions=3)
        labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", dimensions=1)
        parts[name] = Images(images.unsqueeze(1), labels.long())
    return Source(parts, FASHION_CLASSES)


def _read_idx(path: Path, *, dimensions: int) -> Tensor:
    """Read a gzipped IDX file of bytes: two zeros, type 8, dimensions, sizes, values."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").astype(int))
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) - start != np.prod(shape):
        raise ConfigurationError(
            f"{path}: expected an IDX file of bytes with {dimensions} dimensions"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())
