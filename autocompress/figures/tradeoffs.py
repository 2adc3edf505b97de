"""Figures of a run's trade-offs: any two metrics, or the three objectives in space."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from autocompress.figures.metrics import KINDS, Bounds, Column, columns, kinds
from autocompress.figures.style import (
    BLUE,
    FAINT,
    GREY,
    ORANGE,
    SCALE,
    VERMILLION,
    axis_layout,
    axis_of,
    empty,
    figure,
)
from autocompress.wording import count, milliseconds, percent, ratio, ratio_interval

Metrics = Mapping[str, Any]
OBJECTIVES = ("accuracy", "latency_ms", "parameters")
NOTHING = "no trial is complete yet"
MANY = 2_000  # points, from which on WebGL draws them
_SIZES = (8.0, 26.0)  # pixels, of the smallest and the largest value
_MARKS: Mapping[str, tuple[str, dict[str, Any]]] = {  # kind -> name in the legend, marker
    "front": ("front", {"size": 13, "color": BLUE, "line": {"color": "white", "width": 1}}),
    "dominated": ("dominated", {"size": 7, "color": FAINT}),
    "infeasible": ("breaks a limit", {"size": 7, "color": ORANGE, "symbol": "x-thin-open"}),
    "stopped": (
        "stopped early, at its predicted end",
        {"size": 8, "color": GREY, "symbol": "triangle-down-open"},
    ),
}
_HARVESTED = "diamond"


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
    ``rows`` of the table that it shows, so that a page can put other metrics on its axes.

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
    if table.empty:
        return empty(title, NOTHING)
    known, kind = columns(table, baseline, limits), kinds(table)
    if (
        x not in known
        or y not in known
        or not kind.isin(("front", "dominated", "infeasible")).any()
    ):
        return empty(title, NOTHING)
    across, up = known[x], known[y]
    made = figure(title, hovermode="closest")
    made.update_layout(xaxis=dict(across.layout), yaxis=dict(up.layout))
    records = table.to_dict("records")
    for name in reversed(KINDS):
        rows = [i for i, own in enumerate(kind) if own == name]
        if name == "front":
            _add_edge(made, rows, across, up)
        if rows:
            marker = dict(_MARKS[name][1])
            if name == "front" and third in known:
                marker |= _third(known[third], rows, third_as)
            if _harvested(records, rows):
                marker["symbol"] = _symbols(records, rows, marker.get("symbol", "circle"))
            _scatter(made, records, rows, (across, up), name, marker)
    if _harvested(records, [i for i, own in enumerate(kind) if own]):
        _add_legend_only(made, "harvested from a longer training")
    _add_baseline(made, baseline, across, up)
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


def _third(column: Column, rows: Sequence[int], how: str) -> dict[str, Any]:
    values = [column.values[i] for i in rows]
    if how == "size":
        low, high = min(values), max(values)
        scale = (_SIZES[1] - _SIZES[0]) / ((high - low) or 1)
        return {"size": [_SIZES[0] + (value - low) * scale for value in values], "opacity": 0.85}
    title = {"text": column.title, "side": "right"}
    bar = {"title": title, "tickformat": column.layout["tickformat"]}
    return {
        "color": values,
        "colorscale": SCALE,
        "showscale": len(set(values)) > 1,
        "colorbar": {**bar, "thickness": 10, "outlinewidth": 0},
    }


def _harvested(records: Sequence[Mapping[Any, Any]], rows: Sequence[int]) -> bool:
    return any(pd.notna(records[i].get("harvested_from")) for i in rows)


def _symbols(records: Sequence[Mapping[Any, Any]], rows: Sequence[int], own: str) -> list[str]:
    return [_HARVESTED if _harvested(records, [i]) else own for i in rows]


def _scatter(
    made: go.Figure,
    records: Sequence[Mapping[Any, Any]],
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
        name=_MARKS[kind][0],
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


def _add_legend_only(made: go.Figure, name: str) -> None:
    marker = {"symbol": _HARVESTED, "size": 9, "color": GREY}
    made.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)


def _add_baseline(made: go.Figure, baseline: Metrics, across: Column, up: Column) -> None:
    if across.baseline is None or up.baseline is None:
        return
    made.add_scatter(
        x=[across.baseline],
        y=[up.baseline],
        mode="markers",
        name="baseline",
        marker={"symbol": "star", "size": 17, "color": VERMILLION},
        text=[_baseline_hover(baseline)],
        hovertemplate="%{text}<extra></extra>",
        meta={"kind": "baseline"},
    )


def _shades(column: Column, axis: Literal["x", "y"]) -> list[dict[str, Any]]:
    """Return rectangles over what a limit forbids, on one axis, as far as the figure reaches."""
    other = "y" if axis == "x" else "x"
    shown = [v for v in [*column.values, column.baseline] if v is not None and v == v]
    shapes = []
    for name, bound in column.bounds.items():
        end = max([*shown, bound]) * 2 if name == "most" else min([*shown, bound, 0])
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
    label = {"text": "no loss", "textposition": "end", "font": {"size": 11}}
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": up.baseline, "y1": up.baseline}
    return [{"type": "line", **ends, "line": line, "label": label, "layer": "below"}]


def pareto_3d(table: pd.DataFrame, baseline: Metrics) -> go.Figure:
    """Draw accuracy, latency and parameters of all complete trials in space.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
    """
    title = "all three objectives"
    complete = complete_trials(table)
    if complete.empty:
        return empty(title, NOTHING)
    made = figure(title)
    on_front = complete["on_front"]
    for rows, name, colour, size in (
        (complete[~on_front], "others", GREY, 3.5),
        (complete[on_front], "front", BLUE, 6),
    ):
        made.add_scatter3d(
            x=rows["latency_ms"],
            y=rows["parameters"],
            z=rows["accuracy"],
            mode="markers",
            name=name,
            marker={"size": size, "color": colour},
            text=[hover_of(row) for row in rows.to_dict("records")],
            customdata=rows["trial"],
            hovertemplate="%{text}<extra></extra>",
        )
    if baseline:
        made.add_scatter3d(
            x=[baseline["latency_ms"]],
            y=[baseline["parameters"]],
            z=[baseline["accuracy"]],
            mode="markers",
            name="baseline",
            marker={"size": 7, "color": VERMILLION, "symbol": "diamond"},
            text=[_baseline_hover(baseline)],
            hovertemplate="%{text}<extra></extra>",
        )
    axes = {"xaxis": "latency_ms", "yaxis": "parameters", "zaxis": "accuracy"}
    scene = {
        axis: axis_layout(metric, [*complete[metric], baseline.get(metric)])
        for axis, metric in axes.items()
    }
    for axis in scene.values():
        lines = {"gridcolor": "#9aa4b0", "showline": True, "linecolor": "#9aa4b0"}
        axis |= {**lines, "showgrid": True, "showbackground": False, "nticks": 5}
        axis["tickfont"] = {"size": 10}
    camera = {"eye": {"x": 1.55, "y": -1.75, "z": 0.7}, "center": {"z": -0.12}}
    made.update_layout(
        scene={**scene, "camera": camera, "aspectmode": "cube"},
        margin={"l": 0, "r": 0, "t": 40, "b": 30},
        legend={"y": 0, "yanchor": "top"},
    )
    return made


def complete_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that have all three objectives; none of an empty table."""
    if table.empty or not set(OBJECTIVES) <= set(table.columns):
        names = ["trial", "on_front", "feasible", *OBJECTIVES]
        return pd.DataFrame(columns=names).astype({"on_front": bool, "feasible": bool})
    complete = table[table["state"] == "complete"].dropna(subset=list(OBJECTIVES))
    return complete.astype({"on_front": bool, "feasible": bool})


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is empty."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def hover_of(row: Mapping[Any, Any]) -> str:
    """Return what is shown of a trial when it is pointed at; texts are escaped."""
    known = {
        key: None if pd.api.types.is_scalar(v) and pd.isna(v) else v for key, v in row.items()
    }
    predicted = known.get("predicted_accuracy")
    accuracy = known.get("accuracy") if predicted is None else predicted
    told = "accuracy" if predicted is None else "accuracy at most"
    lines = [
        f"<b>trial {known['trial']}</b>",
        f"{told} {percent(accuracy)}",
        f"latency {milliseconds(known.get('latency_ms'))}, {ratio_interval(known)}",
        f"parameters {count(known.get('parameters'))}, {ratio(known.get('parameter_ratio'))}",
    ]
    parent = known.get("harvested_from")
    if parent is not None:
        lines.append(f"harvested from trial {int(parent)}")
    recipe = str(known.get("recipe") or "")
    return "<br>".join([*lines, *(escape(part) for part in recipe.split(" · ") if part)])


def _baseline_hover(baseline: Metrics) -> str:
    return (
        f"<b>baseline</b><br>accuracy {percent(baseline['accuracy'])}<br>"
        f"latency {milliseconds(baseline['latency_ms'])}<br>"
        f"parameters {count(baseline['parameters'])}"
    )
