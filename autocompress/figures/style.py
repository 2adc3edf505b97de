"""How figures look: colours that colour-blind people can tell apart, and one common layout."""

from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

# The palette of Okabe and Ito, 2008: Color Universal Design.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
GREY, FAINT = "rgba(128,128,128,0.75)", "rgba(128,128,128,0.45)"
STAGE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
SCALE = "Viridis"
SMALL = 130  # pixels, of a figure that says why it is empty
MANY = 2_000  # points, from which on WebGL draws them, or not each one is drawn
NOTHING = "no trial is complete yet"
GRID = {"gridcolor": "rgba(128,128,128,0.22)", "zeroline": False, "automargin": True}


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
