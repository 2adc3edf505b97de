"""Open the folder of a run, whatever release wrote it."""

import tomllib
from pathlib import Path
from typing import Any

from autocompress.artifacts import read_json
from autocompress.errors import RunError
from autocompress.runs import layout
from autocompress.runs.folder import Folder
from autocompress.runs.stored import Stored

OLD_FORMAT = 1  # of release 0.1


def stored_in(path: Path) -> Stored:
    """Return what reads a run's folder, by its format.

    Raises:
        RunError: ``run.json`` is damaged, or of a format that is not known.
    """
    header = read_json(path / layout.HEADER)
    found = header.get("format") if isinstance(header, dict) else None
    if found == layout.FORMAT:
        return Folder(path)
    if found == OLD_FORMAT:
        from autocompress.runs.release_0_1 import Release01

        return Release01(path)
    raise RunError(
        f"{path / layout.HEADER} has format {found!r}; expected {layout.FORMAT}, or {OLD_FORMAT} "
        "of release 0.1"
    )


def read_study(path: Path) -> dict[str, Any]:
    """Return the resolved study of a run.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return tomllib.loads((path / layout.STUDY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path / layout.STUDY} cannot be read: {error}") from error


def file_version(file: Path) -> str:
    """Return a text that changes when a file does; ``"0"`` while it is missing."""
    if not file.exists():
        return "0"
    stat = file.stat()
    return f"{stat.st_mtime_ns:x}.{stat.st_size:x}"
