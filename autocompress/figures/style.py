"""How figures look: metrics with their units, colours that colour-blind people can tell apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autocompress.wording import count

# The palette of Okabe and Ito, 2008: Color Universal Design.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
GREY, FAINT = "rgba(128,128,128,0.75)", "rgba(128,128,128,0.45)"
STAGE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
SCALE = "Viridis"
SMALL = 130  # pixels, of a figure that says why it is empty
GRID = {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False, "automargin": True}


@dataclass(frozen=True)
class Axis:
    """How one metric is drawn.

    Attributes:
        title: name and unit.
        format: of its numbers, in d3's notation.
        spreads: whether values spread over magnitudes, so that a logarithmic axis suits.
        higher_is_better: as for accuracies.
    """

    title: str
    format: str
    spreads: bool = False
    higher_is_better: bool = False


AXES = {
    "accuracy": Axis("accuracy on valid", ".1%", higher_is_better=True),
    "test_accuracy": Axis("accuracy on test", ".1%", higher_is_better=True),
    "accuracy_change": Axis(
        "accuracy on valid, against the baseline (points)", "+~g", higher_is_better=True
    ),
    "latency_ms": Axis("latency (ms per batch)", "~g"),
    "latency_ratio": Axis("latency (of the baseline)", "~g"),
    "parameters": Axis("parameters", "~s", spreads=True),
    "parameter_ratio": Axis("parameters (of the baseline)", "~g", spreads=True),
    "size_bytes": Axis("size (bytes)", "~s", spreads=True),
    "size_ratio": Axis("size (of the baseline)", "~g", spreads=True),
    "macs": Axis("multiply-adds", "~s", spreads=True),
    "mac_ratio": Axis("multiply-adds (of the baseline)", "~g", spreads=True),
    "nonzero": Axis("nonzero parameters", "~s", spreads=True),
}
_LOG_FROM = 8.0  # largest over smallest value


def axis_of(metric: str) -> Axis:
    """Return how a metric is drawn; one that is not listed gets its own name."""
    return AXES.get(metric, Axis(metric, "~g"))


def axis_layout(metric: str, values: Any) -> dict[str, Any]:
    """Return plotly's settings of an axis that shows ``values`` of a metric."""
    axis = axis_of(metric)
    positive = [value for value in values if value is not None and value > 0]
    logarithmic = axis.spreads and positive and max(positive) / min(positive) > _LOG_FROM
    layout: dict[str, Any] = {"title": {"text": axis.title}, "tickformat": axis.format}
    return layout | ({"type": "log", "dtick": "D2"} if logarithmic else {})


def colour_bar(metric: str, values: Sequence[float], *, logarithmic: bool) -> dict[str, Any]:
    """Return plotly's settings of a scale of colours for ``values``, or for their logarithms."""
    axis = axis_of(metric)
    made: dict[str, Any] = {
        "title": {"text": axis.title, "side": "right"},
        "tickformat": axis.format,
        "thickness": 10,
        "outlinewidth": 0,
    }
    if logarithmic:
        decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))))
        ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        write = count if axis.format == "~s" else "{:g}".format
        made |= {"tickvals": [math.log10(v) for v in ticks], "ticktext": [write(v) for v in ticks]}
    return made


def figure(title: str, **layout: Any) -> go.Figure:
    """Return an empty figure in the common style."""
    axes = {axis: {**GRID, **layout.pop(axis, {})} for axis in ("xaxis", "yaxis")}
    return go.Figure(layout={**_style(title), **axes, **layout})


def panels(title: str, *, rows: int = 1, cols: int = 1, **layout: Any) -> go.Figure:
    """Return an empty figure of several panels that share an axis, in the common style."""
    made = make_subplots(
        rows=rows,
        cols=cols,
        shared_xaxes=rows > 1,
        shared_yaxes=cols > 1,
        vertical_spacing=0.08,
        horizontal_spacing=0.04,
    )
    columns = {"meta": {"columns": cols}}  # a narrow page stacks them
    made.update_layout({**_style(title), **columns, **layout})
    made.update_xaxes(**GRID)
    made.update_yaxes(**GRID)
    return made


def _style(title: str) -> dict[str, Any]:
    return {
        "template": "none",
        "title": {"text": title, "x": 0.01, "y": 0.97, "yanchor": "top", "font": {"size": 15}},
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 20, "t": 64, "b": 50},
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
    }


def empty(title: str, why: str, **layout: Any) -> go.Figure:
    """Return a figure that says why there is nothing to draw yet."""
    made = figure(title, xaxis={"visible": False}, yaxis={"visible": False}, **layout)
    made.add_annotation(
        text=escape(why), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
    )
    return made
