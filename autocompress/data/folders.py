"""Image files in class folders."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from autocompress.data.sources import Source
from autocompress.data.splits import ImageFiles, Part
from autocompress.errors import ConfigurationError
from autocompress.targets import usable_cores

SPLIT_FOLDERS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
CHECKED_SIDE = 32  # pixels to which JPEGs may be scaled down while decoding, to check faster
SHOWN = 5  # files listed in a message


def read_folder(folder: Path) -> Source:
    """Read ``folder/CLASS/*`` or ``folder/{train,valid or val,test}/CLASS/*``.

    Files are found at any depth below a class; names that begin with a dot are left out.

    Raises:
        ConfigurationError: there is no such folder, or no class folder in it, or a split has a
            class that ``train`` has not.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"data folder {folder}: no such folder, from {Path.cwd()}")
    found = {
        split: folder / name
        for split, names in SPLIT_FOLDERS.items()
        for name in names
        if (folder / name).is_dir()
    }
    roots = found if "train" in found else {"train": folder}
    classes = _class_names(roots["train"])
    if not classes:
        raise ConfigurationError(
            f"data folder {roots['train']}: expected one folder of images per class, found none"
        )
    parts: dict[str, Part] = {name: _read_split(root, classes) for name, root in roots.items()}
    return Source(parts, classes)


def _class_names(root: Path) -> tuple[str, ...]:
    return tuple(
        sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    )


def _read_split(root: Path, classes: tuple[str, ...]) -> ImageFiles:
    unknown = sorted(set(_class_names(root)) - set(classes))
    if unknown:
        raise ConfigurationError(
            f"data folder {root}: classes that train does not have: {', '.join(unknown)}"
        )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            p for p in (root / name).rglob("*") if p.is_file() and not p.name.startswith(".")
        )
        paths += files
        labels += [label] * len(files)
    return ImageFiles(tuple(paths), torch.tensor(labels, dtype=torch.int64))


def count_channels(parts: dict[str, Part]) -> int:
    """Decode every file once: 1 where all images are grey, else 3.

    JPEGs are decoded at a reduced size, which still reads the whole file.

    Raises:
        ConfigurationError: files that are no images, or damaged ones, by name.
    """
    paths = [p for part in parts.values() if isinstance(part, ImageFiles) for p in part.paths]
    with ThreadPoolExecutor(usable_cores()) as pool:
        checked = list(pool.map(_check_file, paths))
    broken = [
        (path, problem) for path, (_, problem) in zip(paths, checked, strict=True) if problem
    ]
    if broken:
        rest = [f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
        listed = [f"{path}: {problem}" for path, problem in broken[:SHOWN]]
        raise ConfigurationError(
            f"{len(broken)} of {len(paths)} files can't be read as images:\n  "
            + "\n  ".join([*listed, *rest])
        )
    return 1 if all(mode in ("1", "L") for mode, _ in checked) else 3


def _check_file(path: Path) -> tuple[str, str]:
    """Return an image's mode and what is wrong with it (empty: nothing)."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            image.draft(None, (CHECKED_SIDE, CHECKED_SIDE))
            image.load()
    except UnidentifiedImageError:
        return "", "not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return "", str(error)
    return mode, ""
