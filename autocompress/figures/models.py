"""Figures of single models: latency samples, training curves, stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from autocompress.figures.style import (
    BLUE,
    GREY,
    SMALL,
    STAGE_COLOURS,
    VERMILLION,
    empty,
    figure,
    panels,
)
from autocompress.metrics import Metric
from autocompress.metrics.formatting import axis_format, axis_title
from autocompress.metrics.metric import LATENCY
from autocompress.results import EpochRecord
from autocompress.techniques.schedules import SCHEDULES, fraction_at

_PARTS = ("early", "middle", "late")  # of the network, each with a sparsity of its own
_SCHEDULE_STEPS = 60  # points of a drawn schedule


def latency(samples: Mapping[str, Sequence[float]]) -> go.Figure:
    """Draw the distribution of measured latencies, one box per model.

    A box holds the middle half of the calls, its line is the median; whiskers reach from the
    10th to the 90th percentile.

    Args:
        samples: name of the model to its samples in milliseconds; the baseline first.
    """
    title = "distribution of latency"
    if not any(samples.values()):
        return empty(title, "no latency samples are stored yet", height=SMALL)
    made = figure(title, showlegend=False, height=110 + 34 * len(samples))
    for index, (name, values) in enumerate(samples.items()):
        if not values:
            continue
        low, first, median, third, high = np.percentile(values, (10, 25, 50, 75, 90))
        made.add_box(
            y=[escape(name)],
            lowerfence=[low],
            q1=[first],
            median=[median],
            q3=[third],
            upperfence=[high],
            orientation="h",
            name=escape(name),
            line={"color": VERMILLION if index == 0 else BLUE, "width": 1.5},
            hoverinfo="x+name",
        )
    made.update_xaxes(title=axis_title(LATENCY), rangemode="tozero")
    made.update_yaxes(autorange="reversed")
    return made


def curve(
    points: Sequence[EpochRecord], score: Metric, recipe: Mapping[str, Any] | None = None
) -> go.Figure:
    """Draw score and losses of a trial, epoch by epoch, one colour per stage.

    Args:
        points: of the trial's training, as ``TrialRecord.curve``.
        score: what the score of an epoch is.
        recipe: nested, as ``TrialRecord.recipe``; where it sparsifies, its schedule is drawn
            under the score.
    """
    title = "training"
    if not points:
        return empty(title, "nothing was trained in this trial", height=SMALL)
    levels = _sparsities(points, recipe or {})
    rows = 3 if levels else 2
    made = panels(title, rows=rows, hovermode="x unified")
    stages = list(dict.fromkeys(point.stage for point in points))
    for colour, stage in zip(STAGE_COLOURS * len(stages), stages, strict=False):
        own = [(n, point) for n, point in enumerate(points, start=1) if point.stage == stage]
        for row, key, dash in (
            (1, "score", None),
            (rows, "valid_loss", None),
            (rows, "train_loss", "dot"),
        ):
            words = key.replace("_", " ")
            made.add_scatter(
                x=[n for n, _ in own],
                y=[getattr(point, key) for _, point in own],
                mode="lines+markers",
                name=escape(stage) if row == 1 else f"{escape(stage)}: {words}",
                line={"color": colour, "dash": dash},
                marker={"size": 5},
                showlegend=row == 1,
                row=row,
                col=1,
            )
    for name, level in levels.items():
        epochs, sparsity = zip(*level, strict=True)
        line = {"color": GREY, "width": 2}
        made.add_scatter(
            x=epochs, y=sparsity, name=name, line=line, fill="tozeroy", row=2, col=1,
            fillcolor="rgba(128,128,128,0.15)", mode="lines", showlegend=False,
        )  # fmt: skip
    if levels:
        made.update_yaxes(title="sparsity", tickformat=".0%", range=[0, 1], row=2)
    made.update_yaxes(title=escape(score.title), tickformat=axis_format(score), row=1)
    made.update_yaxes(title="loss (dotted: train)", row=rows)
    made.update_xaxes(title="epoch", row=rows)
    made.update_layout(height=180 + 110 * rows)
    return made


def _sparsities(
    points: Sequence[EpochRecord], recipe: Mapping[str, Any]
) -> dict[str, list[tuple[float, float]]]:
    """Return (epoch, sparsity) along the schedule of a recipe, for each target that it has."""
    settings, training = recipe.get("sparsification"), recipe.get("training") or {}
    if not isinstance(settings, Mapping) or not isinstance(training, Mapping):
        return {}
    name, window = settings.get("schedule"), (settings.get("start", 0.0), settings.get("end", 1.0))
    epochs = sum(point.stage == points[0].stage for point in points)  # the first one sparsifies
    planned = training.get("epochs") or epochs
    numbers = all(isinstance(number, int | float) for number in (*window, planned))
    if not isinstance(name, str) or name not in SCHEDULES or not numbers:
        return {}  # of another release, or edited
    schedule = SCHEDULES[name]
    steps = [epochs * step / _SCHEDULE_STEPS for step in range(_SCHEDULE_STEPS + 1)]
    reached = [(s, fraction_at(schedule, s / planned, *window)) for s in steps]
    if len(points) > epochs:
        reached.append((len(points), reached[-1][1]))
    targets = _targets(settings)
    return {name: [(s, goal * part) for s, part in reached] for name, goal in targets.items()}


def _targets(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the sparsities that a recipe aims at: of each kind of layer, in each part."""
    targets: dict[str, float] = {}
    for key, name in (("sparsity", "sparsity"), ("linear_sparsity", "sparsity of linear layers")):
        given = settings.get(key) or 0.0
        if isinstance(given, Mapping):  # one for each group
            parts, names = list(given.values()), [f"{name}, mean of all groups"]
        elif isinstance(given, Sequence):
            parts, names = list(given), [f"{name}, {part}" for part in _PARTS]
        else:
            parts, names = [given], [name]
        if not all(isinstance(part, int | float) for part in parts):
            continue  # of another release, or edited
        parts = [float(np.mean(parts))] if isinstance(given, Mapping) and parts else parts
        targets |= {own: goal for own, goal in zip(names, parts, strict=False) if goal}
    return targets


@dataclass(frozen=True, kw_only=True)
class StagePoint:
    """What a model was after a stage.

    Attributes:
        stage: its name.
        values: of metrics, by name; what was not measured is missing or ``None``.
    """

    stage: str
    values: Mapping[str, float | None]


def stages(points: Sequence[StagePoint], metrics: Sequence[Metric]) -> go.Figure:
    """Draw what each stage of a recipe changed.

    Args:
        points: the baseline, and what the model was after each stage.
        metrics: a panel for each.
    """
    title = "what each stage changed"
    if len(points) < 2:
        return empty(title, "nothing is stored of the stages of this trial", height=SMALL)
    made = panels(title, rows=len(metrics))
    for row, metric in enumerate(metrics, start=1):
        made.add_scatter(
            x=[escape(point.stage) for point in points],
            y=[point.values.get(metric.name) for point in points],
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={"size": 8, "color": [VERMILLION] + [BLUE] * (len(points) - 1)},
            connectgaps=True,
            showlegend=False,
            hovertemplate="%{x}: %{y}<extra></extra>",
            row=row,
            col=1,
        )
        spread = {} if metric.format == "fraction" else {"rangemode": "tozero"}
        words = axis_title(metric)
        made.update_yaxes(title=words, tickformat=axis_format(metric), row=row, **spread)
    made.update_layout(height=100 + 110 * len(metrics))
    return made
