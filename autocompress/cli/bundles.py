"""The commands about bundles: export a model of a run, make the model of a bundle again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli import calls
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
from autocompress.cli.reading import pick_or_leave
from autocompress.cli.tables import Row, say, show_json, show_line, show_table
from autocompress.errors import UsageError
from autocompress.metrics import Metric
from autocompress.metrics.formatting import (
    UNKNOWN,
    count,
    format_change,
    format_value,
    percent,
)
from autocompress.metrics.metric import LATENCY

if TYPE_CHECKING:
    from autocompress.bundles import Bundle
    from autocompress.bundles.checks import Check
    from autocompress.bundles.reproducing import Again

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
    allow: Allow = None,
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
    allowed = allowed_by(allow, opened)
    bundle = calls.export(
        opened, chosen.number, output, formats=wanted, force=force, allow=allowed
    )
    if as_json:
        show_json({"trial": chosen.number, **bundle.to_dict()})
    else:
        size = count(sum(bundle.files.values()), "B")
        show_line(f"trial {chosen.number}: {output}, {len(bundle.files)} files, {size}")
        checks = bundle.checks.items()
        show_table([checked_row(name, check, opened.score) for name, check in checks])
    conclude(bundle)


def conclude(bundle: "Bundle") -> None:
    """Say what is missing from a bundle, and end the command where anything is."""
    for reason in bundle.rejected.values():
        say(f"rejected, see {bundle.path}/rejected: {reason}")
    for reason in bundle.unwritten.values():
        say(f"missing: {reason}")
    if bundle.rejected or bundle.unwritten:
        raise typer.Exit(REJECTED)


def checked_row(name: str, check: "Check", score: Metric) -> Row:
    """Return what was found of a model file."""
    both = (check.latency, check.baseline_latency)
    latency, baseline = (None if times is None else times.p50_ms for times in both)
    return {
        "checked file": name,
        "size": count(check.bytes, "B"),
        "difference": UNKNOWN if check.difference is None else f"{check.difference:.1e}",
        "same outcome": percent(check.agreement),
        score.title: format_value(score, check.scores.get(score.name)),
        "latency": format_value(LATENCY, latency),
        "baseline": format_value(LATENCY, baseline),
        "ratio": format_change(LATENCY, latency, baseline),
    }


def reproduce(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle's folder.")],
    *,
    allow: Allow = None,
    as_json: AsJson = False,
) -> None:
    """Run a bundle's recipe again, from the baseline on, and show how far each number drifts.

    Example: autocompress reproduce bundle
    """
    with progress_on() as progress:
        found = calls.reproduce(bundle, progress, allow=allow or [])
    if as_json:
        show_json(found.to_dict())
        return
    for difference in found.differences:
        say(f"not the machine of the study: {difference}")
    for what, is_same in (("baseline", found.same_baseline), ("model", found.same_model)):
        same = "the same weights, bit by bit" if is_same else "other weights"
        show_line(f"{what}: {same}")
    show_table([drift_row(number) for number in found.numbers])


def drift_row(number: "Again") -> Row:
    """Return how far a number is from the one of the bundle."""
    before, drift = number.bundle, number.drift
    words = "not measured again"
    if drift is not None:
        words = f"{drift:+.4g}" if drift else "0"
        words += f" ({drift / before:+.2%})" if drift and before else ""
    return {
        "of": number.of,
        "metric": number.metric,
        "bundle": f"{before:.6g}",
        "again": "" if number.again is None else f"{number.again:.6g}",
        "drift": words,
    }
