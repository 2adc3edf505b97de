"""The commands that read a run: show it, measure it again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autocompress.errors import UsageError
from autocompress.terminal import views
from autocompress.terminal.options import (
    AsJson,
    MaxLatency,
    MaxParameters,
    MinAccuracy,
    Pick,
    RunFolder,
)
from autocompress.terminal.progress import progress_on
from autocompress.terminal.tables import show_json, show_line, show_sections, show_table

if TYPE_CHECKING:
    from autocompress.study import Demands, Run
    from autocompress.study.trials import TrialRecord

NOTHING_FEASIBLE = 3  # exit code
_SHOWN = ("state", "stage", "reason", "feasible", "metrics", "recipe", "params", "seconds")


def status(run: RunFolder, *, as_json: AsJson = False) -> None:
    """Show how far a run is: trials by state with reasons, best so far, time per stage, ETA.

    Example: autocompress status runs/quickstart
    """
    found = open_run(run).status()
    if as_json:
        show_json(found)
        return
    for line in views.status_lines(found):
        show_line(line)
    show_sections({"trials without a result": views.reason_rows(found)})


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
    opened = open_run(run)
    demands = demands_of(max_latency_ms, max_parameters, min_accuracy)
    document = opened.front_document(demands)
    show_front(document, as_json=as_json)
    if not document["front"]:
        leave_where_limits_bind(opened)
        if opened.front():
            pick_or_leave(opened, "balanced", demands)


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

    opened = open_run(run)
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
        "time per layer, in fp32 and PyTorch": views.profile_rows(files["profile"]),
        "": views.diagnosis_rows(files["profile"]),
        "training": views.curve_rows(files["curve"]),
        "what pruning cannot remove": views.staying_rows(opened.units),
    }
    show_sections(sections)


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
    opened = open_run(run)
    from autocompress.study.benching import bench

    with progress_on() as listen:
        found = bench(opened, trials or [], listen)
    if found["differences"]:
        say("WARNING: this is not what the run was measured on; stored and new ratios may differ")
        for difference in found["differences"]:
            say(f"WARNING: {difference}")
    if as_json:
        show_json(found)
        return
    show_table(views.bench_rows(found), title=f"{found['study']}: measured again")


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

    write_report(open_run(run), output)
    show_line(str(output))


def dashboard(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, or a folder of runs.")
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
) -> None:
    """Open a page on a running or finished run; stop it by Ctrl-C.

    Example: autocompress dashboard runs/quickstart
    """
    from autocompress.dashboard.server import serve

    def ready(address: str) -> None:
        show_line(address)
        if not no_open:
            import webbrowser

            webbrowser.open(address)

    serve(run, host=host, port=port, ready=ready)


def demands_of(
    max_latency_ms: float | None, max_parameters: int | None, min_accuracy: float | None
) -> "Demands":
    """Return what a model must keep to."""
    from autocompress.study import Demands

    return Demands(
        max_latency_ms=max_latency_ms, max_parameters=max_parameters, min_accuracy=min_accuracy
    )


def pick_or_leave(run: "Run", how: Pick, demands: "Demands") -> "TrialRecord":
    """Pick a model; where none meets limits and demands, name the nearest and end the command."""
    leave_where_limits_bind(run)
    try:
        return run.pick(how, demands)
    except UsageError as error:
        if not run.front():
            raise
        say(f"autocompress: {error}")
        raise typer.Exit(NOTHING_FEASIBLE) from None


def leave_where_limits_bind(run: "Run") -> None:
    """End the command where trials are complete but none keeps the limits; say which bind."""
    misses = run.misses()
    if misses is None:
        return
    for line in views.miss_lines(misses):
        say(line)
    say("no trial meets the study's [limits]")
    raise typer.Exit(NOTHING_FEASIBLE)


def open_run(path: Path) -> "Run":
    """Open a run's folder."""
    from autocompress.study import Run

    return Run.open(path)


def show_front(document: dict[str, Any], *, as_json: bool) -> None:
    """Print a front, as a table or as JSON."""
    if as_json:
        show_json(document)
        return
    show_table(views.front_rows(document), title=f"{document['study']}: the Pareto front")
    if not document["front"]:
        show_line("nothing is on it: no finished trial meets all that is asked")
    for member in document["front"]:
        if member["latency_flag"]:
            say(f"read the latency of trial {member['trial']} with care: {member['latency_flag']}")


def say(text: str) -> None:
    """Print to stderr, where it mixes with no result."""
    typer.echo(text, err=True)
