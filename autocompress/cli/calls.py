"""What the commands call of the rest of the package, each in one place, loaded when it is called.

The functions here import torch; the modules of the commands do not. What the user's code prints
goes to standard error, because standard output is for results.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from autocompress.events import Progress

if TYPE_CHECKING:
    from autocompress.bundles import Bundle
    from autocompress.bundles.reproducing import Reproduction
    from autocompress.config import StudyConfig
    from autocompress.runs import Run
    from autocompress.study.check import Check
    from autocompress.study.remeasure import Remeasurement

P = ParamSpec("P")
T = TypeVar("T")
RUNS = Path("runs")  # where `run` makes the folder of a run


def _prints_aside(call: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(call)
    def aside(*args: P.args, **kwargs: P.kwargs) -> T:
        with contextlib.redirect_stdout(sys.stderr):
            return call(*args, **kwargs)

    return aside


@_prints_aside
def load(study: Path, overrides: Sequence[str]) -> "StudyConfig":
    """Read a study file."""
    from autocompress.config import load_study

    return load_study(study, list(overrides))


def open_run(path: Path) -> "Run":
    """Open the folder of a run."""
    from autocompress.runs import Run

    return Run.open(path)


@_prints_aside
def search(
    config: "StudyConfig",
    *,
    runs: Path,
    trials: int | None,
    timeout_s: float | None,
    workers: int,
    progress: Progress,
) -> "Run":
    """Run a study from the start."""
    from autocompress.study.budget import Amount
    from autocompress.study.run import run_study

    amount = Amount(trials=trials, timeout_s=timeout_s, workers=workers)
    return run_study(config, directory=runs, amount=amount, progress=progress)


@_prints_aside
def go_on(
    path: Path,
    *,
    trials: int | None,
    timeout_s: float | None,
    workers: int,
    progress: Progress,
    allow: Sequence[str],
) -> "Run":
    """Go on with a run."""
    from autocompress.study.budget import Amount
    from autocompress.study.run import resume_run

    amount = Amount(trials=trials, timeout_s=timeout_s, workers=workers)
    return resume_run(path, amount=amount, progress=progress, allow=allow)


@_prints_aside
def controls(run: "Run", *, workers: int, progress: Progress) -> None:
    """Run what a search is compared with."""
    from autocompress.study.controls import run_controls

    run_controls(run, workers=workers, progress=progress)


@_prints_aside
def check(config: "StudyConfig") -> "Check":
    """Check a study: data, model, one batch."""
    from autocompress.study.check import check

    return check(config)


@_prints_aside
def remeasure(
    run: "Run", trials: Sequence[int], progress: Progress, *, allow: Sequence[str]
) -> "Remeasurement":
    """Measure trials again."""
    from autocompress.study.remeasure import remeasure

    return remeasure(run, trials, progress, allow=allow)


@_prints_aside
def export(
    run: "Run",
    number: int,
    output: Path,
    *,
    formats: tuple[str, ...],
    force: bool,
    allow: Sequence[str],
) -> "Bundle":
    """Write the bundle of a trial."""
    from autocompress.bundles import export_trial

    return export_trial(run, number, output, formats=formats, force=force, allow=allow)


@_prints_aside
def reproduce(bundle: Path, progress: Progress, *, allow: Sequence[str]) -> "Reproduction":
    """Run the recipe of a bundle again."""
    from autocompress.bundles import reproduce

    return reproduce(bundle, progress, allow=allow)
