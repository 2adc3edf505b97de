"""The commands that search, and those that prepare a search."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.artifacts import write_bytes
from autocompress.cli import calls, views
from autocompress.cli.interrupts import INTERRUPTED, stop_cleanly_first
from autocompress.cli.options import (
    Allow,
    AsJson,
    Overrides,
    RunFolder,
    RunsFolder,
    StudyFile,
    Timeout,
    Trials,
    WithControls,
    Workers,
)
from autocompress.cli.permission import allowed_by
from autocompress.cli.progress import progress_on
from autocompress.cli.reading import NOTHING_FEASIBLE, show_front
from autocompress.cli.tables import quoted, say, show_json, show_line, show_sections
from autocompress.errors import ConfigurationError
from autocompress.events import Progress

if TYPE_CHECKING:
    from autocompress.runs import Run

NO_TRIAL = 1  # exit code


def run(  # noqa: PLR0913 (typer calls it)
    study: StudyFile,
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    workers: Workers = 1,
    overrides: Overrides = None,
    runs: RunsFolder = calls.RUNS,
    controls: WithControls = False,
    as_json: AsJson = False,
) -> None:
    """Run a study and show its front.

    Example: autocompress run studies/quickstart.toml --trials 10 --set study.name=first
    """
    config = calls.load(study, overrides or [])

    def search(progress: Progress) -> "Run":
        return calls.search(
            config,
            runs=runs,
            trials=trials,
            timeout_s=timeout,
            workers=workers,
            progress=progress,
        )

    folder = runs / config.study.name
    _search(folder, search, workers if controls else 0, as_json=as_json)


def resume(
    run: RunFolder,
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    workers: Workers = 1,
    controls: WithControls = False,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted run, or add trials to a finished one.

    Example: autocompress resume runs/quickstart --trials 60
    """
    allowed = allowed_by(allow, calls.open_run(run))

    def search(progress: Progress) -> "Run":
        return calls.go_on(
            run,
            trials=trials,
            timeout_s=timeout,
            workers=workers,
            progress=progress,
            allow=allowed,
        )

    _search(run, search, workers if controls else 0, as_json=as_json)


def _search(
    folder: Path, search: Callable[[Progress], "Run"], controls: int, *, as_json: bool
) -> None:
    """Search, show the front, and exit by what was found.

    Args:
        folder: of the run.
        search: returns the finished run.
        controls: workers that run the controls afterwards; 0 for no controls.
        as_json: whether the front is shown as a document.
    """
    try:
        with stop_cleanly_first(), progress_on() as progress:
            finished = search(progress)
            if controls:
                calls.controls(finished, workers=controls, progress=progress)
    except KeyboardInterrupt:
        on = f"; go on by: autocompress resume {quoted(folder)}" if folder.exists() else ""
        say(f"interrupted{on}")
        raise typer.Exit(INTERRUPTED) from None
    conclude(finished, folder, as_json=as_json)


def conclude(finished: "Run", folder: Path, *, as_json: bool = False) -> None:
    """Show the front of a run, and what to do next; end the command where there is no front.

    Args:
        finished: the run.
        folder: of the run, as the user may write it.
        as_json: whether the front is shown as a document.
    """
    show_front(finished, as_json=as_json)
    if finished.front():
        say(f"next: autocompress report {quoted(folder)} -o report.html")
        return
    tried = any(trial.state in ("complete", "pruned") for trial in finished.trials())
    if tried and finished.limits:
        for line in views.infeasibility_lines(finished.infeasibility()):
            say(line)
        say(
            f"no trial met the limits; loosen [limits] in {folder}/study.toml, which `front` and "
            "`resume` follow, or widen [search] in a new study; reasons: autocompress status "
            f"{folder}"
        )
        raise typer.Exit(NOTHING_FEASIBLE)
    say(f"no trial was completed; reasons: autocompress status {folder}")
    raise typer.Exit(NO_TRIAL)


def plan(study: StudyFile, *, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a study: its space, data and model, and one batch. Trains nothing.

    Example: autocompress plan studies/quickstart.toml
    """
    found = calls.check(calls.load(study, overrides or []))
    if as_json:
        show_json(asdict(found))
        return
    for line in views.plan_lines(found):
        show_line(line)
    show_sections(
        {
            "search space": views.space_rows(found.space),
            "units: what pruning can remove": views.unit_rows(found.structure),
        }
    )


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to write it.")
    ] = Path(),
) -> None:
    """Write a commented study.toml to start from.

    Example: autocompress init my_project
    """
    from autocompress.config import template

    path = directory / "study.toml"
    if path.exists():
        raise ConfigurationError(f"{path} exists; it is left as it is")
    directory.mkdir(parents=True, exist_ok=True)
    write_bytes(path, template().encode())
    show_line(str(path))
    say(f"next: autocompress plan {quoted(path)}")
