"""What a trial left in its folder, for those who show it."""

from typing import Any

from autocompress.artifacts import read_json
from autocompress.study.trials import TrialRecord


def stored_files(trial: TrialRecord) -> dict[str, Any]:
    """Return a trial's ``layers``, ``curve`` and ``profile`` (lists of rows) and ``measurement``.

    What a trial did not come to is empty; so is the profile of runs before there were profiles.

    Raises:
        RunError: a file is damaged.
    """
    files: dict[str, Any] = {"layers": [], "curve": [], "measurement": {}, "profile": []}
    for name in files:
        path = None if trial.folder is None else trial.folder / f"{name}.json"
        if path is not None and path.exists():
            files[name] = read_json(path)
    return files
