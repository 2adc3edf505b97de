"""Files that are either whole or absent: written aside, flushed to disk, then renamed."""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file by new content, atomically."""
    aside = _beside(path)
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file, atomically."""
    write_bytes(path, _json_bytes(data))


def write_folder(path: Path, contents: Mapping[str, Any], *, replace: bool = True) -> str:
    """Write a folder of files that appears whole or not at all.

    Args:
        path: the folder.
        contents: file name to bytes (written as they are) or plain data (written as JSON).
        replace: whether one that is there is replaced, whatever it holds.

    Returns:
        sha256, in hexadecimal, over names and contents.

    Raises:
        OSError: the folder holds something and is not to be replaced.
    """
    aside = _beside(path)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for name, content in sorted(contents.items()):
            raw = content if isinstance(content, bytes) else _json_bytes(content)
            write_bytes(aside / name, raw)
        digest = digest_of_folder(aside)
        if replace:
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # it is not there, or not empty
                path.rmdir()
        aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return digest


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed have left of writing a folder or anything in it.

    Args:
        path: of the folder. What a process that still runs on this machine writes is left alone.
    """
    name = glob.escape(path.name)
    beside = [*path.parent.glob(f"{name}.*.partial"), *path.parent.glob(f".{name}-*.partial")]
    for left in [*beside, *path.rglob("*.partial")]:
        writer = left.name.split(".")[-2]
        if not writer.isdecimal() or _is_running(int(writer)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def scratch_folder(path: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a hidden folder beside a path, to write in; what a kill leaves of it is known.

    Args:
        path: what will be written; ``remove_leftovers`` of it removes such folders.
    """
    return tempfile.TemporaryDirectory(
        prefix=f".{path.name}-", suffix=f".{os.getpid()}.partial", dir=path.parent
    )


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def digest_of_folder(path: Path) -> str:
    """Return the sha256, in hexadecimal, over names and contents of a folder's files.

    Hidden files, which file managers leave, do not count.
    """
    digest = hashlib.sha256()
    for file in sorted(path.iterdir(), key=lambda file: file.name):
        if not file.name.startswith("."):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(data: Any) -> str:
    """Return the sha256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _beside(path: Path) -> Path:
    """Name what is not whole yet; another process that writes the same thing uses another name."""
    return path.with_name(f"{path.name}.{os.getpid()}.partial")


def _json_bytes(data: Any) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()
