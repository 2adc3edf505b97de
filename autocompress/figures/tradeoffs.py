"""A run's trade-off: any two metrics against each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from autocompress.figures.metrics import KINDS, Bounds, Column, columns, kinds
from autocompress.figures.points import (
    HARVESTED,
    MANY,
    MARKS,
    NOTHING,
    Records,
    hover_of,
    hover_of_baseline,
    is_harvested,
    rows_of,
    symbols_of,
    third_of,
)
from autocompress.figures.style import FAINT, GREY, VERMILLION, axis_of, empty, figure

Metrics = Mapping[str, Any]


def pareto(
    table: pd.DataFrame,
    baseline: Metrics,
    *,
    x: str = "latency_ms",
    y: str = "accuracy",
    third: str | None = "parameters",
    third_as: Literal["color", "size"] = "color",
    limits: Bounds | None = None,
) -> go.Figure:
    """Draw two metrics of all trials against each other; the front stands out, the rest is dim.

    Harvested candidates are diamonds. Every trace has a ``meta`` that names its ``kind`` and the
    ``rows`` of the table that it shows, so that a page can put other metrics on its axes. The
    axes show the front and the baseline, and the rest as far as it is near.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``; a star.
        x: metric to the right.
        y: metric upwards. Both may be relative: ``latency_ratio``, ``accuracy_change``, ...
        third: metric that colours or sizes the front.
        third_as: which of the two.
        limits: bounds of metrics, as ``Run.limits``; what they forbid is shaded.
    """
    title = f"{_short(y)} and {_short(x)}"
    known, kind = columns(table, baseline, limits), kinds(table)
    if x not in known or y not in known or not kind.isin(KINDS).any():
        return empty(title, NOTHING)
    across, up = known[x], known[y]
    made = figure(title, hovermode="closest")
    made.update_layout(
        xaxis=dict(across.layout), yaxis=dict(up.layout), legend={"traceorder": "reversed"}
    )
    made.update_yaxes(title_standoff=10)
    records = table.to_dict("records")
    _add_baseline(made, baseline, across, up)
    if any(is_harvested(records[i]) for i, own in enumerate(kind) if own):
        marker = {"symbol": "diamond", "size": 9, "color": GREY}
        made.add_scatter(x=[None], y=[None], mode="markers", name=HARVESTED, marker=marker)
    for name in reversed(KINDS):
        rows = rows_of(kind, name)
        if name == "front":
            _add_edge(made, rows, across, up)
        if rows:
            marker = {**MARKS[name][1], "symbol": symbols_of(records, rows, name)}
            if name == "front" and third in known:
                marker |= third_of(known[third], rows, third_as)
            _scatter(made, records, rows, (across, up), name, marker)
    made.update_layout(shapes=[*_shades(across, "x"), *_shades(up, "y"), *_no_loss(up, y)])
    return made


def _short(metric: str) -> str:
    return axis_of(metric).title.split(" (")[0]


def _add_edge(made: go.Figure, rows: Sequence[int], across: Column, up: Column) -> None:
    """Join the members of the front that are best in these two metrics alone, by steps."""
    signs = [-1 if column.higher_is_better else 1 for column in (across, up)]
    ordered = sorted(rows, key=lambda i: (signs[0] * across.values[i], signs[1] * up.values[i]))
    edge, best = [], float("inf")
    for row in ordered:
        if signs[1] * up.values[row] < best:
            best = signs[1] * up.values[row]
            edge.append(row)
    made.add_scatter(
        x=[across.values[i] for i in edge],
        y=[up.values[i] for i in edge],
        mode="lines",
        line={"color": GREY, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
        meta={"kind": "edge", "rows": edge},
    )


def _scatter(
    made: go.Figure,
    records: Records,
    rows: Sequence[int],
    axes: tuple[Column, Column],
    kind: str,
    marker: dict[str, Any],
) -> None:
    across, up = axes
    add = made.add_scattergl if len(rows) > MANY else made.add_scatter
    add(
        x=[across.values[i] for i in rows],
        y=[up.values[i] for i in rows],
        error_x=_bars(across, rows) if kind == "front" else None,
        error_y=_bars(up, rows) if kind == "front" else None,
        mode="markers",
        name=MARKS[kind][0],
        marker=marker,
        text=[hover_of(records[i]) for i in rows],
        customdata=[records[i]["trial"] for i in rows],
        hovertemplate="%{text}<extra></extra>",
        meta={"kind": kind, "rows": list(rows)},
    )


def _bars(column: Column, rows: Sequence[int]) -> dict[str, Any] | None:
    if column.low is None or column.high is None:
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [column.high[i] - column.values[i] for i in rows],
        "arrayminus": [column.values[i] - column.low[i] for i in rows],
        "thickness": 1,
        "width": 2,
        "color": FAINT,
    }


def _add_baseline(made: go.Figure, baseline: Metrics, across: Column, up: Column) -> None:
    if across.baseline is None or up.baseline is None:
        return
    made.add_scatter(
        x=[across.baseline],
        y=[up.baseline],
        mode="markers",
        name="baseline",
        marker={"symbol": "star", "size": 17, "color": VERMILLION},
        text=[hover_of_baseline(baseline)],
        hovertemplate="%{text}<extra></extra>",
        meta={"kind": "baseline"},
    )


def _shades(column: Column, axis: Literal["x", "y"]) -> list[dict[str, Any]]:
    """Return rectangles over what a limit forbids, on one axis, as far as the figure reaches."""
    other = "y" if axis == "x" else "x"
    shown = [v for v in [*column.values, column.baseline] if v is not None and v == v]
    shapes = []
    for name, bound in column.bounds.items():
        end = max([*shown, bound]) if name == "most" else min([*shown, bound])
        end += (end - bound) or 0.05 * abs(bound)
        shapes.append(
            {
                "type": "rect",
                f"{axis}ref": axis,
                f"{other}ref": "paper",
                f"{axis}0": bound,
                f"{axis}1": end,
                f"{other}0": 0,
                f"{other}1": 1,
                "layer": "below",
                "line": {"width": 0},
                "fillcolor": "rgba(213,94,0,0.08)",
            }
        )
    return shapes


def _no_loss(up: Column, y: str) -> list[dict[str, Any]]:
    if up.baseline is None or not y.startswith("accuracy"):
        return []
    line = {"color": VERMILLION, "width": 1, "dash": "dot"}
    label = {"text": "no loss", "textposition": "start", "font": {"size": 11}}
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": up.baseline, "y1": up.baseline}
    return [{"type": "line", **ends, "line": line, "label": label, "layer": "below"}]
