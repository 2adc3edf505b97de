"""The commands that read a run: show it, measure it again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autocompress.cli import calls, views
from autocompress.cli.front import flag_lines, front_columns
from autocompress.cli.options import (
    Allow,
    AsJson,
    Least,
    MaxLatency,
    MaxParameters,
    MinAccuracy,
    Most,
    RunFolder,
    bounds_of,
    budget_of,
)
from autocompress.cli.permission import allowed_by
from autocompress.cli.progress import progress_on
from autocompress.cli.tables import (
    say,
    show_columns,
    show_json,
    show_line,
    show_sections,
    show_table,
)
from autocompress.errors import UsageError

if TYPE_CHECKING:
    from autocompress.runs import Run, TrialRecord
    from autocompress.runs.files import TrialFiles

NOTHING_FEASIBLE = 3  # exit code


def status(run: RunFolder, *, as_json: AsJson = False) -> None:
    """Show how far a run is: trials by state with reasons, best so far, time per stage, ETA.

    Example: autocompress status runs/quickstart
    """
    found = calls.open_run(run).status()
    if as_json:
        show_json(found.to_dict())
        return
    for line in views.status_lines(found):
        show_line(line)
    show_sections({"trials without a result": views.reason_rows(found)})


def front(
    run: RunFolder,
    *,
    most: Most = None,
    least: Least = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    min_accuracy: MinAccuracy = None,
    as_json: AsJson = False,
) -> None:
    """Show the baseline and the models that no other model beats.

    Example: autocompress front runs/quickstart --max latency_ms=1.5 --min accuracy=0.97
    """
    opened = calls.open_run(run)
    bounds = bounds_of(most, least, max_latency_ms, max_parameters, min_accuracy)
    budget = budget_of(opened, bounds)
    show_front(opened, budget, as_json=as_json)
    if not opened.front(budget):
        leave_where_limits_bind(opened)
        if opened.front():
            pick_or_leave(opened, "balanced", budget)


def show(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one trial: recipe, layers and their time before and after, curve, latency.

    Example: autocompress show runs/quickstart 12
    """
    from autocompress.runs.files import TrialFiles

    opened = calls.open_run(run)
    record = opened.trial(trial)
    files = TrialFiles.read(record.folder)
    if as_json:
        show_json(_document(record, files))
        return
    for line in views.trial_lines(record, files.measurement):
        show_line(line)
    sections = {
        "metrics": views.metric_rows(opened, record),
        "recipe": views.setting_rows(record.recipe),
        "layers": views.layer_rows(files.layers),
        "time per layer, in fp32 and PyTorch": views.profile_rows(files.profile),
        "": views.diagnosis_rows(files.profile),
        "training": views.curve_rows(record.curve, opened.score),
        "what pruning cannot remove": views.staying_rows(opened.structure),
    }
    show_sections(sections)


def _document(record: "TrialRecord", files: "TrialFiles") -> dict[str, Any]:
    return {
        "trial": record.number,
        "state": record.state,
        "stage": record.stage,
        "reason": record.reason,
        "parent": record.parent,
        "feasible": record.feasible,
        "metrics": {name: found.to_dict() for name, found in record.metrics.items()},
        "recipe": dict(record.recipe),
        "params": dict(record.params),
        "seconds": dict(record.seconds),
        "curve": [asdict(point) for point in record.curve],
        "stages": [asdict(stage) for stage in record.final_stages or record.stages],
        **asdict(files),
    }


def bench(
    run: RunFolder,
    trials: Annotated[
        list[int] | None, typer.Argument(metavar="[TRIAL...]", help="Numbers; else the front.")
    ] = None,
    *,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Measure trials again, paired with the baseline, on this machine.

    Example: autocompress bench runs/quickstart 12 17
    """
    opened = calls.open_run(run)
    allowed = allowed_by(allow, opened)
    with progress_on() as progress:
        found = calls.remeasure(opened, trials or [], progress, allow=allowed)
    if found.differences:
        say("WARNING: this is not what the run was measured on; stored and new ratios may differ")
        for difference in found.differences:
            say(f"WARNING: {difference}")
    if as_json:
        show_json(asdict(found))
        return
    show_table(views.bench_rows(found), title=f"{opened.name}: measured again")


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

    write_report(calls.open_run(run), output)
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
    from autocompress.dashboard.guarding import warning_for
    from autocompress.dashboard.server import serve

    if warning_for(host):
        say(f"WARNING: {warning_for(host)}")

    def ready(address: str) -> None:
        show_line(address)
        if not no_open:
            import webbrowser

            webbrowser.open(address)

    serve(run, host=host, port=port, ready=ready)


def pick_or_leave(run: "Run", how: str, budget: Mapping[str, float]) -> "TrialRecord":
    """Pick a model; where none meets limits and budget, name the nearest and end the command.

    Raises:
        UsageError: there is no such pick, or the run has no model at all.
    """
    leave_where_limits_bind(run)
    within: Sequence[TrialRecord] = run.front(budget)
    try:
        return run.pick(how, budget)
    except UsageError as error:
        if within or not run.front():
            raise
        say(f"autocompress: {error}")
        raise typer.Exit(NOTHING_FEASIBLE) from None


def leave_where_limits_bind(run: "Run") -> None:
    """End the command where trials are complete but none keeps the limits; say which bind."""
    found = run.infeasibility()
    if found is None:
        return
    for line in views.infeasibility_lines(found):
        say(line)
    say("no trial meets the study's [limits]")
    raise typer.Exit(NOTHING_FEASIBLE)


def show_front(
    run: "Run", budget: Mapping[str, float] | None = None, *, as_json: bool = False
) -> None:
    """Print a front, as a table or as JSON."""
    if as_json:
        show_json(run.front_document(budget))
        return
    front = run.front(budget)
    show_columns(front_columns(run, front), title=f"{run.name}: the Pareto front")
    if not front:
        show_line("nothing is on it: no finished trial meets all that is asked")
    for line in flag_lines(run, front):
        say(line)
