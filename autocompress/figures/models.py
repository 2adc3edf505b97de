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
    ORANGE,
    SMALL,
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
    made.update_xaxes(title=axis_of("latency_ms").title, rangemode="tozero")
    made.update_yaxes(autorange="reversed")
    return made


def widths(layers: Sequence[Metrics], fixed: Mapping[str, str] | None = None) -> go.Figure:
    """Draw the width, rank and parameters of each convolution and linear layer, before and after.

    Args:
        layers: rows of a trial's ``layers.json``.
        fixed: layers whose outputs could not be cut, each with the reason.
    """
    title = "layers before and after"
    layers = [layer for layer in layers if len(layer["before"]) > 1]  # norms follow the others
    if not layers:
        return empty(title, "no layers are stored for this trial", height=SMALL)
    made = panels(title, cols=2)
    hover = [_layer_hover(layer) for layer in layers]
    for column, before, after in (
        (1, [layer["before"][0] for layer in layers], [_width(layer) for layer in layers]),
        (2, *([layer[f"parameters_{when}"] for layer in layers] for when in ("before", "after"))),
    ):
        for name, values, colour in (("before", before, FAINT), ("after", after, BLUE)):
            made.add_bar(
                x=values,
                y=[escape(layer["name"]) for layer in layers],
                orientation="h",
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                width=0.8 if name == "before" else 0.45,
                text=hover,
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    low_rank = [(layer, f"rank {layer['rank']}") for layer in layers if layer["rank"] is not None]
    kept = [(layer, why) for layer in layers if (why := (fixed or {}).get(layer["name"]))]
    _add_marks(made, "rank", "diamond", ORANGE, low_rank)
    _add_marks(made, "kept whole", "x-thin-open", VERMILLION, kept)
    made.update_layout(barmode="overlay", height=170 + 24 * len(layers), margin={"t": 84})
    made.update_yaxes(autorange="reversed", automargin=True)
    made.update_xaxes(title="output channels", col=1)
    made.update_xaxes(title="parameters", tickformat="~s", nticks=5, col=2)
    return made


def _add_marks(
    made: go.Figure, name: str, symbol: str, colour: str, marked: Sequence[tuple[Metrics, str]]
) -> None:
    """Mark layers on their bars: at their rank, or at the width that they keep."""
    if not marked:
        return
    line = 2 if symbol.endswith("open") else 0
    made.add_scatter(
        x=[layer["rank"] if name == "rank" else _width(layer) for layer, _ in marked],
        y=[escape(layer["name"]) for layer, _ in marked],
        mode="markers",
        name=name,
        marker={"symbol": symbol, "color": colour, "size": 9, "line": {"width": line}},
        text=[f"<b>{escape(layer['name'])}</b><br>{escape(why)}" for layer, why in marked],
        hovertemplate="%{text}<extra></extra>",
        row=1,
        col=1,
    )


def curve(points: Sequence[Metrics], recipe: Metrics | None = None) -> go.Figure:
    """Draw accuracy and losses of a trial, epoch by epoch, one colour per stage.

    Args:
        points: rows of a trial's ``curve.json``.
        recipe: nested, as ``TrialRecord.recipe``; where it sparsifies, its schedule is drawn
            under the accuracy.
    """
    title = "training"
    if not points:
        return empty(title, "nothing was trained in this trial", height=SMALL)
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
    for name, level in levels.items():
        epochs, sparsity = zip(*level, strict=True)
        line = {"color": GREY, "width": 2}
        made.add_scatter(
            x=epochs, y=sparsity, name=name, line=line, fill="tozeroy", row=2, col=1,
            fillcolor="rgba(128,128,128,0.15)", mode="lines", showlegend=False,
        )  # fmt: skip
    if levels:
        made.update_yaxes(title="sparsity", tickformat=".0%", range=[0, 1], row=2)
    made.update_yaxes(title="accuracy", tickformat=".1%", row=1)
    made.update_yaxes(title="loss (dotted: train)", row=rows)
    made.update_xaxes(title="epoch", row=rows)
    made.update_layout(height=180 + 110 * rows)
    return made


def _sparsities(
    points: Sequence[Metrics], recipe: Metrics
) -> dict[str, list[tuple[float, float]]]:
    """Return (epoch, sparsity) along the schedule of a recipe, for each target that it has."""
    settings = recipe.get("sparsification")
    epochs = sum(point["stage"] == "sparsify" for point in points)
    if not settings or not epochs or settings.get("schedule") not in SCHEDULES:
        return {}
    planned = (recipe.get("training") or {}).get("epochs") or epochs
    schedule = SCHEDULES[settings["schedule"]]
    window = (settings.get("start", 0.0), settings.get("end", 1.0))
    steps = [epochs * step / _SCHEDULE_STEPS for step in range(_SCHEDULE_STEPS + 1)]
    reached = [(s, fraction_at(schedule, s / planned, *window)) for s in steps]
    if len(points) > epochs:
        reached.append((len(points), reached[-1][1]))
    targets = _targets(settings)
    return {name: [(s, goal * part) for s, part in reached] for name, goal in targets.items()}


def _targets(settings: Metrics) -> dict[str, float]:
    """Return the sparsities that a recipe aims at: of each kind of layer, in each part."""
    targets: dict[str, float] = {}
    for key, name in (("sparsity", "sparsity"), ("linear_sparsity", "sparsity of linear layers")):
        given = settings.get(key) or 0.0
        parts = given if isinstance(given, Sequence) else [given]
        names = [name] if len(parts) == 1 else [f"{name}, {part}" for part in _PARTS]
        targets |= {own: goal for own, goal in zip(names, parts, strict=True) if goal}
    return targets


def stages(rows: Sequence[Metrics], baseline: Metrics) -> go.Figure:
    """Draw what each stage of a recipe changed: accuracy, latency and parameters after it.

    Args:
        rows: ``stage`` with ``accuracy``, ``latency_ms`` and ``parameters`` after it; what was
            not measured is missing or None.
        baseline: its metrics, as ``Run.baseline``; the first point.
    """
    title = "what each stage changed"
    if not rows:
        return empty(title, "nothing is stored of the stages of this trial", height=SMALL)
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
        title_of = {"accuracy": "accuracy", "latency_ms": "latency (ms)"}.get(metric, metric)
        made.update_yaxes(title=title_of, tickformat=axis.format, row=row, **spread)
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
