"""Figures of single models: latency samples, layers, training curves."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from autocompress.figures.style import (
    BLUE,
    FAINT,
    GREY,
    STAGE_COLOURS,
    VERMILLION,
    axis_of,
    empty,
    figure,
    panels,
)
from autocompress.techniques.schedules import SCHEDULES, fraction_at
from autocompress.wording import count, percent

Metrics = Mapping[str, Any]
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
        return empty(title, "no latency samples are stored yet")
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
    made.update_xaxes(title=axis_of("latency_ms").title, rangemode="tozero")
    made.update_yaxes(autorange="reversed")
    return made


def widths(layers: Sequence[Metrics]) -> go.Figure:
    """Draw the width and parameters of each convolution and linear layer, before and after.

    Args:
        layers: rows of a trial's ``layers.json``.
    """
    title = "layers before and after"
    layers = [layer for layer in layers if len(layer["before"]) > 1]  # norms follow the others
    if not layers:
        return empty(title, "no layers are stored for this trial")
    made = panels(title, cols=2)
    names = [escape(layer["name"]) for layer in layers]
    hover = [_layer_hover(layer) for layer in layers]
    for column, before, after in (
        (1, [layer["before"][0] for layer in layers], [_width(layer) for layer in layers]),
        (2, *([layer[f"parameters_{when}"] for layer in layers] for when in ("before", "after"))),
    ):
        for name, values, colour in (("before", before, FAINT), ("after", after, BLUE)):
            made.add_bar(
                x=values,
                y=names,
                orientation="h",
                name=name,
                marker={"color": colour},
                width=0.8 if name == "before" else 0.45,
                text=hover,
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    made.update_layout(barmode="overlay", height=150 + 24 * len(layers))
    made.update_yaxes(autorange="reversed", automargin=True)
    made.update_xaxes(title="output channels", col=1)
    made.update_xaxes(title="parameters", tickformat="~s", col=2)
    return made


def curve(points: Sequence[Metrics], recipe: Metrics | None = None) -> go.Figure:
    """Draw accuracy and losses of a trial, epoch by epoch, one colour per stage.

    Args:
        points: rows of a trial's ``curve.json``.
        recipe: nested, as ``TrialRecord.recipe``; where it sparsifies, its schedule is drawn
            under the accuracy.
    """
    title = "training"
    if not points:
        return empty(title, "nothing was trained in this trial")
    levels = _sparsities(points, recipe or {})
    rows = 3 if levels else 2
    made = panels(title, rows=rows, hovermode="x unified")
    stages = list(dict.fromkeys(point["stage"] for point in points))
    for colour, stage in zip(STAGE_COLOURS * len(stages), stages, strict=False):
        own = [(n, point) for n, point in enumerate(points, start=1) if point["stage"] == stage]
        for row, key, dash in (
            (1, "accuracy", None),
            (rows, "valid_loss", None),
            (rows, "train_loss", "dot"),
        ):
            words = key.replace("_", " ")
            made.add_scatter(
                x=[n for n, _ in own],
                y=[point[key] for _, point in own],
                mode="lines+markers",
                name=escape(stage) if row == 1 else f"{escape(stage)}: {words}",
                line={"color": colour, "dash": dash},
                marker={"size": 5},
                showlegend=row == 1,
                row=row,
                col=1,
            )
    if levels:
        epochs, sparsity = zip(*levels, strict=True)
        line = {"color": GREY, "width": 2}
        made.add_scatter(
            x=epochs, y=sparsity, name="sparsity", line=line, fill="tozeroy", row=2, col=1,
            mode="lines", showlegend=False,
        )  # fmt: skip
        made.update_yaxes(title="sparsity", tickformat=".0%", range=[0, 1], row=2)
    made.update_yaxes(title="accuracy", tickformat=".1%", row=1)
    made.update_yaxes(title="loss (dotted: train)", row=rows)
    made.update_xaxes(title="epoch", row=rows)
    made.update_layout(height=180 + 110 * rows)
    return made


def _sparsities(points: Sequence[Metrics], recipe: Metrics) -> list[tuple[float, float]]:
    """Return (epoch, sparsity) along the schedule of a recipe; empty where there is none."""
    settings = recipe.get("sparsification")
    epochs = sum(point["stage"] == "sparsify" for point in points)
    if not settings or not epochs or settings.get("schedule") not in SCHEDULES:
        return []
    target = settings.get("sparsity") or settings.get("linear_sparsity")
    if not isinstance(target, int | float) or not target:
        return []
    planned = (recipe.get("training") or {}).get("epochs") or epochs
    schedule, window = (
        SCHEDULES[settings["schedule"]],
        (settings.get("start", 0.0), settings.get("end", 1.0)),
    )
    steps = [epochs * step / _SCHEDULE_STEPS for step in range(_SCHEDULE_STEPS + 1)]
    levels = [(s, target * fraction_at(schedule, s / planned, *window)) for s in steps]
    return [*levels, (len(points), levels[-1][1])] if len(points) > epochs else levels


def stages(rows: Sequence[Metrics], baseline: Metrics) -> go.Figure:
    """Draw what each stage of a recipe changed: accuracy, latency and parameters after it.

    Args:
        rows: ``stage`` with ``accuracy`` (None where it was not evaluated), ``latency_ms`` and
            ``parameters``, as the last word measures them.
        baseline: its metrics, as ``Run.baseline``; the first point.
    """
    title = "what each stage changed"
    if not rows:
        return empty(title, "measured for the models of the front, when the study ends")
    metrics = ("accuracy", "latency_ms", "parameters")
    made = panels(title, rows=len(metrics))
    points: list[Metrics] = [{**baseline, "stage": "baseline"}, *rows]
    for row, metric in enumerate(metrics, start=1):
        axis = axis_of(metric)
        made.add_scatter(
            x=[escape(point["stage"]) for point in points],
            y=[point.get(metric) for point in points],
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={"size": 8, "color": [VERMILLION] + [BLUE] * len(rows)},
            connectgaps=True,
            showlegend=False,
            hovertemplate="%{x}: %{y}<extra></extra>",
            row=row,
            col=1,
        )
        spread = {} if axis.higher_is_better else {"rangemode": "tozero"}
        made.update_yaxes(
            title=axis.title.split(" (")[0], tickformat=axis.format, row=row, **spread
        )
    made.update_layout(height=430)
    return made


def _width(layer: Metrics) -> int:
    return int(layer["after"][-1][0]) if layer["after"] else 0


def _layer_hover(layer: Metrics) -> str:
    def shape(sizes: Sequence[int]) -> str:
        return "x".join(map(str, sizes))

    after = " + ".join(shape(sizes) for sizes in layer["after"]) or "removed"
    rank = "" if layer["rank"] is None else f"<br>rank {layer['rank']}"
    return (
        f"<b>{escape(layer['name'])}</b> ({escape(layer['type'])})<br>"
        f"{shape(layer['before'])} to {after}{rank}<br>"
        f"{count(layer['parameters_before'])} to {count(layer['parameters_after'])} parameters<br>"
        f"{percent(layer['sparsity'], 0)} zeros left"
    )
