"""What a trial left in its folder, for those who show it."""

from typing import Any

from autocompress.artifacts import read_json
from autocompress.study.trials import TrialRecord


def stored_files(trial: TrialRecord) -> dict[str, Any]:
    """Return what a trial measured, and rows of its layers, curve, stages and profile.

    What a trial did not come to is empty; so is what runs did not store before there was such.

    Raises:
        RunError: a file is damaged.
    """
    rows: dict[str, Any] = {name: [] for name in ("layers", "curve", "stages", "profile")}
    files = {**rows, "measurement": {}}
    for name in files:
        path = None if trial.folder is None else trial.folder / f"{name}.json"
        if path is not None and path.exists():
            files[name] = read_json(path)
    return files
