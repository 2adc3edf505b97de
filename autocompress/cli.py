"""The command line: parse, call, print, and turn errors into exit codes."""

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autocompress.artifacts import write_bytes
from autocompress.errors import AutocompressError, ConfigurationError, UsageError
from autocompress.terminal import views
from autocompress.terminal.interrupts import INTERRUPTED, stop_cleanly_first
from autocompress.terminal.options import (
    AsJson,
    Controls,
    MaxLatency,
    MaxParameters,
    MinAccuracy,
    Overrides,
    Pick,
    RunFolder,
    StudyFile,
    Timeout,
    Trials,
    Workers,
)
from autocompress.terminal.progress import Listener, progress_on
from autocompress.terminal.tables import show_json, show_line, show_sections, show_table

if TYPE_CHECKING:
    from autocompress.study import Demands, Run

FAILED, MISUSED, NOTHING_FEASIBLE = 1, 2, 3  # exit codes
_SHOWN = ("state", "stage", "reason", "feasible", "metrics", "recipe", "params", "seconds")

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
    _open(run)

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
        _say("interrupted; go on by: autocompress resume " + str(folder))
        raise typer.Exit(INTERRUPTED) from None
    document = finished.front_document()
    _show_front(document, as_json=as_json)
    if document["front"]:
        _say(f"next: autocompress report {folder} -o report.html")
        return
    counts = document["trials"]
    if counts["complete"] or counts["pruned"]:
        for line in views.miss_lines(finished.misses()):
            _say(line)
        _say("no trial met the limits; loosen [limits], or widen [search] and resume")
        raise typer.Exit(NOTHING_FEASIBLE)
    _say(f"no trial was completed; reasons: autocompress status {folder}")
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
def status(run: RunFolder, *, as_json: AsJson = False) -> None:
    """Show how far a run is: trials by state with reasons, best so far, time per stage, ETA.

    Example: autocompress status runs/quickstart
    """
    found = _open(run).status()
    if as_json:
        show_json(found)
        return
    for line in views.status_lines(found):
        show_line(line)
    show_sections({"trials without a result": views.reason_rows(found)})


@app.command()
def front(
    run: RunFolder,
    *,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    min_accuracy: MinAccuracy = None,
    as_json: AsJson = False,
) -> None:
    """Show the baseline and the models that no other model beats.

    Example: autocompress front runs/quickstart --min-accuracy 0.97
    """
    opened = _open(run)
    demands = _demands(max_latency_ms, max_parameters, min_accuracy)
    document = opened.front_document(demands)
    _show_front(document, as_json=as_json)
    if opened.front() and not document["front"]:
        try:
            opened.pick("balanced", demands)  # its message names the nearest
        except UsageError as error:
            _say(f"autocompress: {error}")
            raise typer.Exit(NOTHING_FEASIBLE) from None


@app.command()
def show(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one trial: recipe, layers and their time before and after, curve, latency.

    Example: autocompress show runs/quickstart 12
    """
    from autocompress.dashboard.stored import stored_files

    opened = _open(run)
    record = opened.trial(trial)
    files = stored_files(record)
    if as_json:
        facts = {key: getattr(record, key) for key in _SHOWN}
        show_json({"trial": record.number, **facts, **files})
        return
    for line in views.trial_lines(record, files["measurement"]):
        show_line(line)
    sections = {
        "metrics": views.metric_rows(record.metrics, opened.baseline),
        "recipe": views.setting_rows(record.recipe),
        "layers": views.layer_rows(files["layers"]),
        "time per layer": views.profile_rows(files["profile"]),
        "": views.diagnosis_rows(files["profile"]),
        "training": views.curve_rows(files["curve"]),
        "what pruning cannot remove": views.staying_rows(opened.units),
    }
    show_sections(sections)


@app.command()
def bench(
    run: RunFolder,
    trials: Annotated[
        list[int] | None, typer.Argument(metavar="[TRIAL...]", help="Numbers; else the front.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure trials again, paired with the baseline, on this machine.

    Example: autocompress bench runs/quickstart 12 17
    """
    opened = _open(run)
    from autocompress.study.benching import bench

    with progress_on() as listen:
        found = bench(opened, trials or [], listen)
    if found["differences"]:
        _say("WARNING: this is not what the run was measured on; stored and new ratios may differ")
        for difference in found["differences"]:
            _say(f"WARNING: {difference}")
    if as_json:
        show_json(found)
        return
    show_table(views.bench_rows(found), title=f"{found['study']}: measured again")


@app.command()
def report(
    run: RunFolder,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "report.html"
    ),
) -> None:
    """Write a run as one HTML page that opens without a network.

    Example: autocompress report runs/quickstart -o report.html
    """
    from autocompress.dashboard.report import write_report

    write_report(_open(run), output)
    show_line(str(output))


@app.command()
def export(  # noqa: PLR0913 (typer calls it)
    run: RunFolder,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Export this trial.")] = None,
    pick: Annotated[Pick, typer.Option(help="Choose from the front.")] = "balanced",
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    min_accuracy: MinAccuracy = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated formats of the model.")
    ] = "pt2",
) -> None:
    """Export one model as a bundle of files, each reloaded and checked.

    Example: autocompress export runs/quickstart --pick small --min-accuracy 0.97 -o bundle
    """
    opened = _open(run)
    if trial is None:
        chosen = opened.pick(pick, _demands(max_latency_ms, max_parameters, min_accuracy))
    else:
        chosen = opened.trial(trial)
    from autocompress.export import export_trial

    wanted = tuple(name.strip() for name in formats.split(","))
    show_table(views.setting_rows(export_trial(opened, chosen.number, output, formats=wanted)))


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
    _say(f"next: autocompress plan {path}")


def _demands(
    max_latency_ms: float | None, max_parameters: int | None, min_accuracy: float | None
) -> "Demands":
    from autocompress.study import Demands

    return Demands(
        max_latency_ms=max_latency_ms, max_parameters=max_parameters, min_accuracy=min_accuracy
    )


def _open(path: Path) -> "Run":
    from autocompress.study import Run

    return Run.open(path)


def _show_front(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(document)
        return
    show_table(views.front_rows(document), title=f"{document['study']}: the Pareto front")
    if not document["front"]:
        show_line("no finished trial that meets the limits yet")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    """Run the command line; errors that we raise become a message and an exit code."""
    # Read when torch is loaded: threads that wait by spinning train ten times slower as soon as
    # anything else uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except UsageError as error:
        _say(f"autocompress: {error}")
        raise SystemExit(MISUSED) from None
    except (AutocompressError, OSError) as error:
        _say(f"autocompress: {error}")
        raise SystemExit(FAILED) from None


if __name__ == "__main__":
    main()
