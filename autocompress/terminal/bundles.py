"""The commands about bundles: export a model of a run, make the model of a bundle again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autocompress.errors import UsageError
from autocompress.terminal.options import (
    AsJson,
    MaxLatency,
    MaxParameters,
    MinAccuracy,
    Pick,
    RunFolder,
)
from autocompress.terminal.progress import progress_on
from autocompress.terminal.reading import demands_of, open_run, pick_or_leave, say
from autocompress.terminal.tables import Row, show_json, show_line, show_table
from autocompress.wording import count, milliseconds, percent, ratio

REJECTED = 1  # exit code


def export(  # noqa: PLR0913 (typer calls it)
    run: RunFolder,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Export this trial.")] = None,
    pick: Annotated[
        Pick | None, typer.Option(help="Choose from the front; balanced by default.")
    ] = None,
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

    Example: autocompress export runs/quickstart --pick small --min-accuracy 0.97 -o bundle
    """
    opened = open_run(run)
    demands = demands_of(max_latency_ms, max_parameters, min_accuracy)
    if trial is None:
        chosen = pick_or_leave(opened, pick or "balanced", demands)
    elif pick is not None or demands != demands_of(None, None, None):
        raise UsageError("--trial names the model: leave out --pick, --max-... and --min-...")
    else:
        chosen = opened.trial(trial)
    from autocompress.export import export_trial

    wanted = tuple(name.strip() for name in formats.split(","))
    done = export_trial(opened, chosen.number, output, formats=wanted, force=force)
    if as_json:
        show_json({"trial": chosen.number, **done})
    else:
        size = count(sum(done["files"].values()), "B")
        show_line(f"trial {chosen.number}: {output}, {len(done['files'])} files, {size}")
        show_table([_checked(name, check) for name, check in done["checks"].items()])
    for reason in done["rejected"].values():
        say(f"rejected, see {output}/rejected: {reason}")
    for reason in done["unwritten"].values():
        say(f"missing: {reason}")
    if done["rejected"] or done["unwritten"]:
        raise typer.Exit(REJECTED)


def _checked(name: str, check: Mapping[str, Any]) -> Row:
    latency, baseline = check["latency"], check["baseline_latency"]
    return {
        "checked file": name,
        "size": count(check["bytes"], "B"),
        "difference": f"{check['difference']:.1e}",
        "same class": percent(check["agreement"]),
        "accuracy": percent(check["accuracy"]),
        "latency": milliseconds(latency["p50_ms"]),
        "baseline": milliseconds(baseline["p50_ms"]) if baseline else "",
        "ratio": ratio(latency["p50_ms"] / baseline["p50_ms"]) if baseline else "",
    }


def reproduce(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle's folder.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Run a bundle's recipe again, from the baseline on, and tell how far each number drifts.

    Example: autocompress reproduce bundle
    """
    from autocompress.export import reproduce

    with progress_on() as listen:
        found = reproduce(bundle, listen)
    if as_json:
        show_json(found)
        return
    for difference in found["differences"]:
        say(f"not the machine of the study: {difference}")
    for what in ("baseline", "model"):
        same = "the same weights, bit by bit" if found[f"same_{what}"] else "other weights"
        show_line(f"{what}: {same}")
    show_table([_drift(row) for row in found["numbers"]])


def _drift(row: Mapping[str, Any]) -> Row:
    before, again = row["bundle"], row["again"]
    drift = "not measured again"
    if again is not None:
        drift = f"{row['drift']:+.4g}" if row["drift"] else "0"
        drift += f" ({row['drift'] / before:+.2%})" if row["drift"] and before else ""
    return {
        "of": row["of"],
        "metric": row["metric"],
        "bundle": f"{before:.6g}",
        "again": "" if again is None else f"{again:.6g}",
        "drift": drift,
    }
