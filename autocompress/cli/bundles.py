"""The commands about bundles: export a model of a run, make the model of a bundle again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli import calls
from autocompress.cli.options import (
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
from autocompress.cli.progress import progress_on
from autocompress.cli.reading import pick_or_leave
from autocompress.cli.tables import Row, say, show_json, show_line, show_table
from autocompress.errors import UsageError
from autocompress.metrics.formatting import count, format_value, percent, ratio
from autocompress.metrics.metric import LATENCY

if TYPE_CHECKING:
    from autocompress.bundles.checks import Check
    from autocompress.bundles.reproducing import Again
    from autocompress.metrics import Metric

REJECTED = 1  # exit code


def export(  # noqa: PLR0913 (typer calls it)
    run: RunFolder,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Export this trial.")] = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Choose from the front: accurate, fast, small, ... (the word of an objective), "
            "or balanced, which is the default.",
        ),
    ] = None,
    most: Most = None,
    least: Least = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    min_accuracy: MinAccuracy = None,
    formats: Annotated[
        str, typer.Option("--format", help="Comma-separated formats of the model.")
    ] = "pt2",
    force: Annotated[bool, typer.Option("--force", help="Replace an older bundle.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export one model as a bundle of files, each reloaded and checked.

    Example: autocompress export runs/quickstart --pick small --min accuracy=0.97 -o bundle
    """
    opened = calls.open_run(run)
    bounds = bounds_of(most, least, max_latency_ms, max_parameters, min_accuracy)
    if trial is None:
        chosen = pick_or_leave(opened, pick or "balanced", budget_of(opened, bounds))
    elif pick is not None or bounds:
        raise UsageError("--trial names the model: leave out --pick, --max and --min")
    else:
        chosen = opened.trial(trial)
    wanted = tuple(name.strip() for name in formats.split(","))
    done = calls.export(opened, chosen.number, output, formats=wanted, force=force)
    if as_json:
        show_json({"trial": chosen.number, **done.to_dict()})
    else:
        size = count(sum(done.files.values()), "B")
        show_line(f"trial {chosen.number}: {output}, {len(done.files)} files, {size}")
        checks = done.checks.items()
        show_table([_checked(name, check, opened.score) for name, check in checks])
    for reason in done.rejected.values():
        say(f"rejected, see {output}/rejected: {reason}")
    for reason in done.unwritten.values():
        say(f"missing: {reason}")
    if done.rejected or done.unwritten:
        raise typer.Exit(REJECTED)


def _checked(name: str, check: "Check", score: "Metric") -> Row:
    latency, baseline = check.latency, check.baseline_latency
    row = {"checked file": name, "size": count(check.bytes, "B")}
    if check.difference is not None:
        row["difference"] = f"{check.difference:.1e}"
    if check.agreement is not None:
        row["same outcome"] = percent(check.agreement)
    if score.name in check.scores:
        row[score.title] = format_value(score, check.scores[score.name])
    if latency is not None:
        row["latency"] = format_value(LATENCY, latency.p50_ms)
    if latency is not None and baseline is not None:
        row["baseline"] = format_value(LATENCY, baseline.p50_ms)
        row["ratio"] = ratio(latency.p50_ms / baseline.p50_ms)
    return row


def reproduce(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle's folder.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Run a bundle's recipe again, from the baseline on, and show how far each number drifts.

    Example: autocompress reproduce bundle
    """
    with progress_on() as progress:
        found = calls.reproduce(bundle, progress)
    if as_json:
        show_json(found.to_dict())
        return
    for difference in found.differences:
        say(f"not the machine of the study: {difference}")
    for what, same in (("baseline", found.same_baseline), ("model", found.same_model)):
        show_line(f"{what}: {'the same weights, bit by bit' if same else 'other weights'}")
    show_table([drift_row(row) for row in found.numbers])


def drift_row(row: "Again") -> Row:
    """Return how far a number is from the one of the bundle."""
    drift = "not measured again"
    if row.drift is not None:
        drift = f"{row.drift:+.4g}" if row.drift else "0"
        drift += f" ({row.drift / row.bundle:+.2%})" if row.drift and row.bundle else ""
    return {
        "of": row.of,
        "metric": row.metric,
        "bundle": f"{row.bundle:.6g}",
        "again": "" if row.again is None else f"{row.again:.6g}",
        "drift": drift,
    }
