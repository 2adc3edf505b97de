"""The command line: parse, call, print, and turn errors into exit codes."""

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.artifacts import write_bytes
from autocompress.errors import AutocompressError, ConfigurationError, UsageError
from autocompress.terminal import views
from autocompress.terminal.bundles import export, reproduce
from autocompress.terminal.interrupts import INTERRUPTED, stop_cleanly_first
from autocompress.terminal.notices import notices_told_once
from autocompress.terminal.options import (
    AsJson,
    Controls,
    Overrides,
    RunFolder,
    StudyFile,
    Timeout,
    Trials,
    Workers,
)
from autocompress.terminal.progress import Listener, progress_on
from autocompress.terminal.reading import (
    NOTHING_FEASIBLE,
    bench,
    dashboard,
    front,
    open_run,
    report,
    say,
    show,
    show_front,
    status,
)
from autocompress.terminal.tables import show_json, show_line, show_sections

if TYPE_CHECKING:
    from autocompress.study import Run

FAILED, MISUSED = 1, 2  # exit codes

app = typer.Typer(
    name="autocompress",
    help="Search for smaller, faster versions of a vision model, measured on your hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it)
    if wanted:
        show_line(f"autocompress {metadata.version('autocompress')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Search for smaller, faster versions of a vision model, measured on your hardware."""


@app.command()
def run(
    study: StudyFile,
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    workers: Workers = 1,
    overrides: Overrides = None,
    controls: Controls = False,
    as_json: AsJson = False,
) -> None:
    """Run a study and show its front.

    Example: autocompress run studies/quickstart.toml --trials 10 --set study.name=first
    """
    from autocompress.config import load_study

    config = load_study(study, overrides or [])
    folder = Path("runs") / config.study.name

    def search(listen: Listener) -> "Run":
        from autocompress.study.running import run

        done = run(config, trials=trials, timeout_s=timeout, workers=workers, progress=listen)
        return _with_controls(done, workers, listen) if controls else done

    _search(folder, search, as_json=as_json)


@app.command()
def resume(
    run: RunFolder,
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    workers: Workers = 1,
    controls: Controls = False,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted run, or add trials to a finished one.

    Example: autocompress resume runs/quickstart --trials 60
    """
    open_run(run)

    def search(listen: Listener) -> "Run":
        from autocompress.study.running import resume

        done = resume(run, trials=trials, timeout_s=timeout, workers=workers, progress=listen)
        return _with_controls(done, workers, listen) if controls else done

    _search(run, search, as_json=as_json)


def _with_controls(done: "Run", workers: int, listen: Listener) -> "Run":
    from autocompress.study.controls import run_controls

    run_controls(done, workers=workers, progress=listen)
    return done


def _search(folder: Path, search: Callable[[Listener], "Run"], *, as_json: bool) -> None:
    try:
        with stop_cleanly_first(), progress_on() as listen:
            finished = search(listen)
    except KeyboardInterrupt:
        say("interrupted; go on by: autocompress resume " + str(folder))
        raise typer.Exit(INTERRUPTED) from None
    document = finished.front_document()
    show_front(document, as_json=as_json)
    if document["front"]:
        say(f"next: autocompress report {folder} -o report.html")
        return
    counts = document["trials"]
    if counts["complete"] or counts["pruned"]:
        for line in views.miss_lines(finished.misses()):
            say(line)
        say(
            f"no trial met the limits; loosen [limits] in {folder}/study.toml, which `front` and "
            "`resume` follow, or widen [search] in a new study"
        )
        raise typer.Exit(NOTHING_FEASIBLE)
    say(f"no trial was completed; reasons: autocompress status {folder}")
    raise typer.Exit(FAILED)


@app.command()
def plan(study: StudyFile, *, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a study: its space, data and model, and one batch. Trains nothing.

    Example: autocompress plan studies/quickstart.toml
    """
    from autocompress.config import load_study

    config = load_study(study, overrides or [])
    from autocompress.study.running import check

    found = check(config)
    if as_json:
        show_json(found)
        return
    for line in views.plan_lines(found):
        show_line(line)
    space = views.space_rows(config.search.knobs)
    show_sections(
        {"search space": space, "units: what pruning can remove": views.unit_rows(found)}
    )


@app.command()
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
    say(f"next: autocompress plan {path}")


for _command in (status, front, show, bench, dashboard, report, export, reproduce):
    app.command()(_command)


def main() -> None:
    """Run the command line; errors that we raise become a message and an exit code."""
    # Read when torch is loaded: threads that wait by spinning train ten times slower as soon as
    # anything else uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with notices_told_once():
            app()
    except UsageError as error:
        say(f"autocompress: {error}")
        raise SystemExit(MISUSED) from None
    except (AutocompressError, OSError) as error:
        say(f"autocompress: {error}")
        raise SystemExit(FAILED) from None


if __name__ == "__main__":
    main()
