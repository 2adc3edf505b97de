"""Open the folder of a run, whatever release wrote it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from autocompress.documents import read_json, read_toml
from autocompress.errors import RunError
from autocompress.runs import layout
from autocompress.runs.folder import Folder
from autocompress.runs.stored import Stored
from autocompress.sentences import one_line, shown
from autocompress.trust import require_trust

OLD_FORMAT = 1  # of release 0.1


def stored_in(path: Path) -> Stored:
    """Return what reads a run's folder, by its format.

    Raises:
        RunError: ``run.json`` is damaged, or of a format that is not known.
    """
    found = format_of(path)
    if found == layout.FORMAT:
        return Folder(path)
    if found == OLD_FORMAT:
        from autocompress.runs.release_0_1 import Release01

        return Release01(path)
    raise RunError(
        f"{path / layout.HEADER} has format {shown(found)}; expected {layout.FORMAT}, or "
        f"{OLD_FORMAT} of release 0.1"
    )


def format_of(path: Path) -> Any:
    """Return the format of a run's folder, as ``run.json`` says it; ``None`` where it does not.

    Raises:
        RunError: ``run.json`` cannot be read.
    """
    header = read_json(path / layout.HEADER)
    return header.get("format") if isinstance(header, dict) else None


def read_study(path: Path) -> dict[str, Any]:
    """Return the resolved study of a run: tables by name.

    Raises:
        RunError: it cannot be read.
    """
    file = path / layout.STUDY
    study = read_toml(file)
    for name, section in study.items():
        if not isinstance(section, dict):
            raise RunError(one_line(f"{file} is damaged: {name}: expected a table of keys"))
    return study


def wanted_by(study: Mapping[str, Any], path: Path) -> int:
    """Return how many trials the study file of a run asks for.

    Raises:
        RunError: it does not say that.
    """
    trials = study.get("study", {}).get("trials")
    if isinstance(trials, int) and trials >= 0:
        return trials
    raise RunError(
        f"{path / layout.STUDY} is damaged: study.trials: expected a whole number of at least 0, "
        f"got {shown(trials)}"
    )


def require_trusted(path: Path, study: Mapping[str, Any], allow: Collection[str] = ()) -> None:
    """Refuse to call functions that a run names, and this user has neither run nor allowed.

    Args:
        path: of the run.
        study: its study file, as nested tables.
        allow: packages or modules whose functions may be called.

    Raises:
        UntrustedError: there are such functions.
        ConfigurationError: a module is not found here; the message says where the run was made.
    """
    file = path / layout.HEADER
    header = read_json(file) if file.exists() else None
    found = header.get("made_in") if isinstance(header, dict) else None
    require_trust(study, str(path), allow, made_in=found if isinstance(found, str) else "")


def file_version(file: Path) -> str:
    """Return a text that changes when a file does; ``"0"`` while it is missing."""
    if not file.exists():
        return "0"
    stat = file.stat()
    return f"{stat.st_mtime_ns:x}.{stat.st_size:x}"
