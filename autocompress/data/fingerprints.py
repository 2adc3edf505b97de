"""A sha256 of data: of tensors wherever they lie, and of image files."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CHUNK = 4096  # rows that are copied from a device at once
READ_FULLY = 256 * 2**20  # bytes of files up to which all of their content is read
SAMPLE = 1000  # files that are read of larger sets


class Fingerprint:
    """Collects values into one sha256; what is added in another order gives another one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, value: Any) -> None:
        """Add a tensor, a number, a text, ``None``, or sequences and mappings of them."""
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, Mapping):
            self._note("mapping", len(value))
            for key in sorted(value, key=str):
                self._note(key)
                self.add(value[key])
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            self._note("sequence", len(value))
            for entry in value:
                self.add(entry)
        else:
            self._note(value)

    def hexdigest(self) -> str:
        """Return the sha256 of what was added."""
        return self._digest.hexdigest()

    def _note(self, *facts: object) -> None:
        self._digest.update(repr(facts).encode())

    def _add_tensor(self, tensor: Tensor) -> None:
        plain = tensor.detach().as_subclass(Tensor)
        self._note(str(plain.dtype), tuple(plain.shape))
        for chunk in torch.split(plain.reshape(1, 1) if plain.ndim == 0 else plain, CHUNK):
            if chunk.numel():
                flat = chunk.cpu().contiguous().flatten()
                self._digest.update(flat.view(torch.uint8).numpy().tobytes())


def add_files(
    fingerprint: Fingerprint,
    paths: Sequence[Path],
    *,
    read_fully: int = READ_FULLY,
    sample: int = SAMPLE,
) -> None:
    """Add names and sizes of files, and their content: of all, or of a sample of large sets.

    Folders are left out: a data set that is moved stays the same.

    Args:
        fingerprint: what is added to.
        paths: of the files, in order.
        read_fully: bytes of all files up to which all of their content is read.
        sample: files that are read of larger sets.
    """
    sizes = [path.stat().st_size for path in paths]
    fingerprint.add([path.name for path in paths])
    fingerprint.add(sizes)
    chosen = range(len(paths))
    if sum(sizes) > read_fully:
        generator = torch.Generator().manual_seed(0)
        order: list[int] = torch.randperm(len(paths), generator=generator)[:sample].tolist()
        chosen = order  # type: ignore[assignment]
    for index in chosen:
        fingerprint.add(hashlib.sha256(paths[index].read_bytes()).hexdigest())
