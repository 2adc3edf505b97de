"""A run's trade-off: any two metrics against each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from autocompress.errors import UsageError
from autocompress.figures.columns import Column, columns, staircase
from autocompress.figures.points import (
    DERIVED,
    MARKS,
    hover_of,
    hover_of_baseline,
    is_derived,
    rows_of,
    symbols_of,
    third_of,
)
from autocompress.figures.style import FAINT, GREY, MANY, NOTHING, VERMILLION, empty, figure
from autocompress.figures.view import KINDS, Shown, View, default_axes, view_of
from autocompress.metrics import Metric
from autocompress.registry import did_you_mean

Axes = tuple[Column, Column]


def pareto(
    run: Shown,
    *,
    x: str | None = None,
    y: str | None = None,
    third: str | None = None,
    third_as: Literal["color", "size"] = "color",
) -> go.Figure:
    """Draw two metrics of all trials against each other; the front stands out, the rest is dim.

    Derived candidates are diamonds. Every trace has a ``meta`` that names its ``kind`` and the
    ``rows`` that it shows: positions of its trials in the run, so that a page can put other
    metrics on its axes. The axes show the front and the baseline, and the rest as far as it is
    near. What a limit forbids is shaded; bars are 95 % intervals, where they are known.

    Args:
        run: any run, or a view of one.
        x: metric to the right; by default the second objective.
        y: metric upwards; by default the first objective. Both may be relative:
            ``latency_ratio``, ``accuracy_change``, ...
        third: metric that colours or sizes the front; by default the third objective.
        third_as: which of the two.

    Raises:
        UsageError: the run has trials to draw, but no metric of that name; the message lists those
            that there are.
    """
    view = view_of(run)
    known, kinds = columns(view), view.kinds
    if not any(kinds):
        return empty("trade-off", NOTHING)
    default = default_axes(view)
    across, up = (chosen(known, *pair) for pair in ((x, default[0]), (y, default[1])))
    colour = chosen(known, third, default[2]) if third or default[2] else None
    made = figure(f"{up.short} and {across.short}", hovermode="closest")
    made.update_layout(xaxis=across.layout, yaxis=up.layout, legend={"traceorder": "reversed"})
    made.update_yaxes(title_standoff=10)
    _add_baseline(made, view, (across, up))
    if any(is_derived(trial) for trial, kind in zip(view.trials, kinds, strict=True) if kind):
        marker = {"symbol": "diamond", "size": 9, "color": GREY}
        made.add_scatter(x=[None], y=[None], mode="markers", name=DERIVED, marker=marker)
    for name in reversed(KINDS):
        rows = rows_of(kinds, name)
        if name == "front":
            _add_edge(made, (across, up))
        if rows:
            marker = {**MARKS[name][1], "symbol": symbols_of([view.trials[i] for i in rows], name)}
            if name == "front" and colour is not None:
                marker |= third_of(colour, third_as)
            _scatter(made, view, rows, (across, up), name, marker)
    made.update_layout(shapes=[*across.shapes("x"), *up.shapes("y")])
    return made


def chosen(known: Mapping[str, Column], name: str | None, default: Metric | None) -> Column:
    """Return the column of this name, or else of the metric that is shown by default.

    Raises:
        UsageError: there is no column of this name.
    """
    wanted = name or (default.name if default else "")
    if wanted not in known:
        there = f"{did_you_mean(wanted, known)}; there are: {', '.join(known)}"
        raise UsageError(f"there is no metric {wanted!r} to draw{there}")
    return known[wanted]


def _add_edge(made: go.Figure, axes: Axes) -> None:
    """Join the members of the front that are best in these two metrics alone, by steps."""
    across, up = axes
    edge = staircase(across, up)
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
    view: View,
    rows: Sequence[int],
    axes: Axes,
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
        text=[hover_of(view, view.trials[i]) for i in rows],
        customdata=[view.trials[i].number for i in rows],
        hovertemplate="%{text}<extra></extra>",
        meta={"kind": kind, "rows": list(rows)},
    )


def _bars(column: Column, rows: Sequence[int]) -> dict[str, Any]:
    bars = column.bars()
    style = {"type": "data", "symmetric": False, "thickness": 1, "width": 2, "color": FAINT}
    if bars is None:
        return {**style, "visible": False}
    above, below = ([ends[i] for i in rows] for ends in bars)
    return {**style, "visible": True, "array": above, "arrayminus": below}


def _add_baseline(made: go.Figure, view: View, axes: Axes) -> None:
    across, up = axes
    if across.baseline is None or up.baseline is None:
        return
    made.add_scatter(
        x=[across.baseline],
        y=[up.baseline],
        mode="markers",
        name="baseline",
        marker={"symbol": "star", "size": 17, "color": VERMILLION},
        text=[hover_of_baseline(view)],
        hovertemplate="%{text}<extra></extra>",
        meta={"kind": "baseline"},
    )
