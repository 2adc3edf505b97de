"""Whether a run still holds what it wrote: what is missing, was changed, or is not its own.

A file is read again only where it was written after what the journal notes of it; copies are.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from autocompress.artifacts import digest_of_file, digest_of_folder
from autocompress.errors import RunError
from autocompress.runs import layout
from autocompress.runs.journal import Trained
from autocompress.runs.stored import StoredTrial

SHOWN = 3  # damages that a message names
_SLACK = timedelta(seconds=2)  # file systems round times
_NUMBER = re.compile(r"(\d{5,})(\.\d+)?")  # of the folder of a trial, or of one that shares it


def damages_of(
    path: Path, trials: Iterable[StoredTrial], networks: Mapping[str, Trained]
) -> tuple[str, ...]:
    """Return what is wrong with the files of a run, in words; empty where it is whole.

    Args:
        path: the run's folder.
        trials: what its journal holds.
        networks: baseline and teacher, as the journal notes them.
    """
    return (*_networks(path, networks.values()), *_trials(path, list(trials)))


def refuse_damages(path: Path, damages: Sequence[str], *, of: str = "") -> None:
    """Refuse to go on with what is not known to be whole.

    Args:
        path: the run's folder.
        damages: as ``damages_of`` returns them.
        of: folder of the run that alone matters; empty: all do.

    Raises:
        RunError: there are any; the message names the first.
    """
    damages = [text for text in damages if text.startswith(f"{of}/" if of else "")]
    if damages:
        more = f", and {len(damages) - SHOWN} more" if len(damages) > SHOWN else ""
        raise RunError(
            f"{path} is damaged: {'; '.join(damages[:SHOWN])}{more}; put back what was there, or "
            "start a new run"
        )


def _networks(path: Path, networks: Iterable[Trained]) -> Iterator[str]:
    for network in networks:
        weights = path / network.role / layout.WEIGHTS
        name = f"{network.role}/{layout.WEIGHTS}"
        if not weights.is_file():
            yield f"{name} is missing"
        elif _is_newer([weights], network.time) and digest_of_file(weights) != network.sha256:
            yield f"{name} was changed after the {network.role} was there"


def _trials(path: Path, trials: list[StoredTrial]) -> Iterator[str]:
    known = {trial.number for trial in trials}
    for trial in trials:
        result = trial.result
        if result is None or result.folder is None:
            continue
        folder = layout.trial_folder(path, result.folder)
        if not folder.is_dir():
            yield f"{layout.TRIALS}/{folder.name} is missing, the model of trial {trial.number}"
        elif result.sha256 is not None and _is_changed(folder, trial.finished, result.sha256):
            yield f"{layout.TRIALS}/{folder.name} was changed after trial {trial.number} ended"
    home = path / layout.TRIALS
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        number = _NUMBER.fullmatch(folder.name)
        if number is not None and int(number.group(1)) not in known:
            yield (
                f"{layout.TRIALS}/{folder.name} is there, but {layout.JOURNAL} knows no such "
                "trial: it was lost, cut or replaced"
            )


def _is_changed(folder: Path, finished: datetime | None, sha256: str) -> bool:
    files = [folder, *folder.iterdir()]
    newer = finished is None or _is_newer(files, finished.isoformat())
    return newer and digest_of_folder(folder) != sha256


def _is_newer(files: Iterable[Path], time: str) -> bool:
    """Return whether a file was written after a time, in ISO 8601 with its zone."""
    latest = (datetime.fromisoformat(time) + _SLACK).timestamp()
    return any(file.stat().st_mtime > latest for file in files)
