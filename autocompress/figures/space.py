"""A run's trade-off in space: three metrics at once."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from autocompress.figures.metrics import KINDS, columns, kinds
from autocompress.figures.points import (
    MARKS,
    NOTHING,
    hover_of,
    hover_of_baseline,
    is_harvested,
    rows_of,
)
from autocompress.figures.style import VERMILLION, empty, figure

Metrics = Mapping[str, Any]
_SYMBOLS = {"infeasible": "cross", "stopped": "square-open"}  # there are few in space
_SIZES = {"front": 6.0, "infeasible": 5.0}
_COLOURS = {"dominated": "#8b939c", "stopped": "#8b939c"}  # WebGL leaves out what is translucent
_LINES = "#9aa4b0"


def pareto_3d(
    table: pd.DataFrame,
    baseline: Metrics,
    *,
    x: str = "latency_ms",
    y: str = "parameters",
    z: str = "accuracy",
) -> go.Figure:
    """Draw three metrics of all trials in space; kinds are told apart as in ``pareto``.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
        x: metric of the first axis.
        y: metric of the second axis.
        z: metric upwards. All may be relative, as for ``pareto``.
    """
    title = "three metrics at once"
    known, kind = columns(table, baseline), kinds(table)
    if not {x, y, z} <= set(known) or not kind.isin(KINDS).any():
        return empty(title, NOTHING)
    axes = [known[name] for name in (x, y, z)]
    made, records = figure(title), table.to_dict("records")
    for name in reversed(KINDS):
        rows = rows_of(kind, name)
        if not rows:
            continue
        own = _SYMBOLS.get(name, "circle")
        made.add_scatter3d(
            **{at: [axis.values[i] for i in rows] for at, axis in zip("xyz", axes, strict=True)},
            mode="markers",
            name=MARKS[name][0],
            marker={
                "size": _SIZES.get(name, 3.5),
                "color": _COLOURS.get(name, MARKS[name][1]["color"]),
                "symbol": ["diamond" if is_harvested(records[i]) else own for i in rows],
            },
            text=[hover_of(records[i]) for i in rows],
            customdata=[records[i]["trial"] for i in rows],
            hovertemplate="%{text}<extra></extra>",
            meta={"kind": name, "rows": rows},
        )
    if all(axis.baseline is not None for axis in axes):
        made.add_scatter3d(
            **{at: [axis.baseline] for at, axis in zip("xyz", axes, strict=True)},
            mode="markers",
            name="baseline",
            marker={"size": 7, "color": VERMILLION, "symbol": "square"},
            text=[hover_of_baseline(baseline)],
            hovertemplate="%{text}<extra></extra>",
            meta={"kind": "baseline"},
        )
    lines = {"gridcolor": _LINES, "showline": True, "linecolor": _LINES, "showgrid": True}
    common = {**lines, "showbackground": False, "nticks": 5, "tickfont": {"size": 10}}
    named = zip(("xaxis", "yaxis", "zaxis"), axes, strict=True)
    made.update_layout(
        scene={
            **{at: {**axis.layout, **common} for at, axis in named},
            "camera": {"eye": {"x": 1.55, "y": -1.75, "z": 0.7}, "center": {"z": -0.08}},
            "aspectmode": "cube",
        },
        margin={"l": 0, "r": 0, "t": 30, "b": 30},
        legend={"y": 0, "yanchor": "top", "traceorder": "reversed"},
    )
    return made
