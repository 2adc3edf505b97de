"""The report: the dashboard's page and a run's data in one HTML file that opens offline."""

from pathlib import Path
from typing import Any

from autocompress.artifacts import write_bytes
from autocompress.dashboard.details import details
from autocompress.dashboard.document import (
    as_csv,
    overview,
    space,
    study_figures,
    trials,
)
from autocompress.dashboard.page import whole_page
from autocompress.errors import UsageError
from autocompress.runs import Run

MOST_DETAILS = 200  # trials whose details a report holds, some 25 kB each; the front comes first


def write_report(run: Run, path: str | Path) -> None:
    """Write a run as one HTML file, from 5 MB on; a run that is not finished is shown as it is.

    Args:
        run: any run, also an empty or a running one.
        path: the file; one that is there is replaced, atomically.

    Raises:
        UsageError: the folder of ``path`` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    write_bytes(path, whole_page(run.name, report_data(run)).encode())


def report_data(run: Run) -> dict[str, Any]:
    """Return everything that a report shows of a run."""
    front = [trial.number for trial in run.front()]
    others = [t.number for t in run.trials() if t.folder is not None and t.number not in front]
    chosen = [*front, *others][:MOST_DETAILS]
    return {
        "overview": overview(run),
        "trials": trials(run),
        "space": space(run),
        "figures": study_figures(run),
        "csv": as_csv(run),
        "details": {str(number): details(run, number) for number in chosen},
    }
