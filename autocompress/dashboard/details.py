"""All that the page shows of one trial."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autocompress import figures
from autocompress.dashboard.document import Fact, Figure, plain
from autocompress.dashboard.tables import reason_of, state_of
from autocompress.figures.bottlenecks import diagnosis
from autocompress.figures.models import StagePoint
from autocompress.figures.view import View, view_of
from autocompress.metrics import Metric
from autocompress.metrics.formatting import duration, format_change, format_interval, format_value
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.metrics.splits import in_order, split_title
from autocompress.recipe_text import recipe_in_words
from autocompress.results import Estimates
from autocompress.runs.files import TrialFiles
from autocompress.runs.final import FinalStage

if TYPE_CHECKING:
    from autocompress.runs import Run, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Number:
    """A metric of a trial beside the baseline's, in words."""

    title: str
    baseline: str
    value: str
    change: str


@dataclass(frozen=True, kw_only=True)
class Details:
    """All that is known of one trial.

    Attributes:
        trial: its number.
        title: of the dialog that shows it.
        short: its recipe in one line.
        state: how it ended.
        reason: why it failed, was stopped or breaks a limit.
        parent: number of the trial whose training run it shares.
        words: what was done, in order.
        numbers: what came of it.
        export: the command that exports it; ``None`` where there is no model.
        recipe: every setting, under its dotted name.
        time: of each stage.
        fixed: layers that could not be cut, and why.
        diagnosis: where the time of a call goes.
        figures: ``widths``, ``curve``, ``latency`` and ``stages``.
    """

    trial: int
    title: str
    short: str
    state: str
    reason: str
    parent: int | None
    words: Sequence[str]
    numbers: Sequence[Number]
    export: str | None
    recipe: Sequence[Fact]
    time: Sequence[Fact]
    fixed: Sequence[Fact]
    diagnosis: Sequence[str]
    figures: Mapping[str, Figure]


def details(run: "Run", number: int) -> Details:
    """Return all that is known of one trial.

    Raises:
        UsageError: there is no such trial.
    """
    trial, view = run.trial(number), view_of(run)
    files = TrialFiles.read(trial.folder)
    samples = {
        "baseline": run.baseline_samples_ms,
        f"trial {number}": files.measurement.samples_ms,
    }
    fixed = run.structure.staying
    shown, points = _stages(view, trial)
    return Details(
        trial=number,
        title=f"Trial {number}",
        short=trial.in_short,
        state=state_of(trial, view.front),
        reason=reason_of(trial),
        parent=trial.parent,
        words=recipe_in_words(trial.recipe),
        numbers=list(_numbers(view, trial.metrics)),
        export=_export_command(run, trial) if trial.folder else None,
        recipe=settings(trial.recipe),
        time=[(stage, duration(spent)) for stage, spent in trial.seconds.items()],
        fixed=list(fixed.items()),
        diagnosis=list(diagnosis(files.profile)),
        figures={
            "widths": plain(figures.widths(files.layers, fixed)),
            "curve": plain(figures.curve(trial.curve, view.score, trial.recipe)),
            "latency": plain(figures.latency(samples)),
            "stages": plain(figures.stages(points, shown)),
        },
    )


def settings(recipe: Mapping[str, Any], prefix: str = "") -> list[Fact]:
    """Return nested settings, one by one, under their dotted names."""
    rows: list[Fact] = []
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            rows += settings(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "off" if value is None else str(value)))
    return rows


def _numbers(view: View, found: Estimates) -> Iterator[Number]:
    for metric in in_order(view.metrics):
        if metric.name not in found:
            continue
        value, baseline = found[metric.name], view.baseline.get(metric.name)
        ratio = metric.comparison == "ratio"
        beside = format_interval if ratio else format_change
        yield Number(
            title=split_title(metric, view.metrics),
            baseline=format_value(metric, baseline),
            value=format_value(metric, value),
            change="" if baseline is None else beside(metric, value, baseline),
        )


def _stages(view: View, trial: "TrialRecord") -> tuple[list[Metric], list[StagePoint]]:
    """Return the metrics that are known of a trial's stages, and the points from the baseline on.

    The last stage has what was measured of the trial where nothing was measured of the stage.
    """
    shown = [view.score, LATENCY, PARAMETERS]
    start, end = (_values(found, shown) for found in (view.baseline, trial.metrics))
    points = [
        StagePoint(
            stage=stage.stage,
            values={
                view.score.name: stage.score,
                LATENCY.name: stage.latency_ms if isinstance(stage, FinalStage) else None,
                PARAMETERS.name: stage.parameters,
            },
        )
        for stage in trial.final_stages or trial.stages
    ]
    if points:
        *others, last = points
        known = {name: value for name, value in last.values.items() if value is not None}
        points = [*others, StagePoint(stage=last.stage, values={**end, **known})]
    return shown, [StagePoint(stage="baseline", values=start), *points]


def _values(found: Estimates, metrics: Sequence[Metric]) -> dict[str, float]:
    return {m.name: found[m.name].value for m in metrics if m.name in found}


def _export_command(run: "Run", trial: "TrialRecord") -> str:
    target = shlex.quote(f"{run.name}-{trial.number}")
    folder = shlex.quote(str(run.path))
    return f"autocompress export {folder} --trial {trial.number} -o {target}"
