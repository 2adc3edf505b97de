"""Figures of single models: latency samples, layers, training curves."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from autocompress.dashboard.style import (
    BLUE,
    FAINT,
    STAGE_COLOURS,
    VERMILLION,
    axis_of,
    empty,
    figure,
    panels,
)
from autocompress.wording import count, percent

Metrics = Mapping[str, Any]


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


def curve(points: Sequence[Metrics]) -> go.Figure:
    """Draw accuracy and losses of a trial, epoch by epoch, one colour per stage.

    Args:
        points: rows of a trial's ``curve.json``.
    """
    title = "training curve"
    if not points:
        return empty(title, "nothing was trained in this trial")
    made = panels(title, rows=2, hovermode="x unified")
    stages = list(dict.fromkeys(point["stage"] for point in points))
    for colour, stage in zip(STAGE_COLOURS * len(stages), stages, strict=False):
        own = [(n, point) for n, point in enumerate(points, start=1) if point["stage"] == stage]
        for row, key, dash in (
            (1, "accuracy", None),
            (2, "valid_loss", None),
            (2, "train_loss", "dot"),
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
    made.update_yaxes(title="accuracy", tickformat=".1%", row=1)
    made.update_yaxes(title="loss (dotted: train)", row=2)
    made.update_xaxes(title="epoch", row=2)
    made.update_layout(height=380)
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
