"""Figures of a whole run: its trade-offs, and how they grew."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from autocompress.dashboard.hypervolume import volumes_over_time
from autocompress.dashboard.style import (
    BLUE,
    FAINT,
    GREY,
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
ACCURACY_FLOOR = 0.9  # of the baseline's accuracy: where the covered volume begins
_NOTHING = "no trial is complete yet"


def pareto(
    table: pd.DataFrame,
    baseline: Metrics,
    *,
    x: str = "latency_ms",
    y: str = "accuracy",
    color: str = "parameters",
) -> go.Figure:
    """Draw two metrics of all complete trials; the front stands out, the rest is dim.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
        x: metric to the right; smaller is better.
        y: metric upwards; higher is better.
        color: metric that colours the front.
    """
    title = f"{axis_of(y).title.split(' (')[0]} and {axis_of(x).title.split(' (')[0]}"
    complete = _complete(table, (x, y))
    if complete.empty:
        return empty(title, _NOTHING)
    made = figure(title)
    made.update_layout(
        xaxis=axis_layout(x, [*complete[x], baseline.get(x)]),
        yaxis=axis_layout(y, [*complete[y], baseline.get(y)]),
        hovermode="closest",
    )
    front = complete[complete["on_front"]]
    for rows, name, symbol in (
        (complete[~complete["feasible"]], "breaks a limit", "x-thin-open"),
        (complete[complete["feasible"] & ~complete["on_front"]], "dominated", "circle"),
    ):
        marker = {"color": FAINT if symbol == "circle" else GREY, "size": 7, "symbol": symbol}
        _scatter(made, rows, (x, y), name=name, marker=marker)
    edge = _edge(front, x, y)
    line = {"color": GREY, "width": 1.5, "shape": "hv"}
    made.add_scatter(
        x=edge[x], y=edge[y], mode="lines", line=line, hoverinfo="skip", showlegend=False
    )
    marker = {
        "size": 13,
        "color": front[color],
        "colorscale": SCALE,
        "showscale": front[color].nunique() > 1,
        "colorbar": _colorbar(color),
        "line": {"color": "white", "width": 1},
    }
    _scatter(made, front, (x, y), name="front", marker=marker, error_x=_error_bars(front, x))
    _add_baseline(made, baseline, (x, y))
    return made


def pareto_3d(table: pd.DataFrame, baseline: Metrics) -> go.Figure:
    """Draw accuracy, latency and parameters of all complete trials in space.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
    """
    title = "all three objectives"
    complete = _complete(table, OBJECTIVES)
    if complete.empty:
        return empty(title, _NOTHING)
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
            text=_hover(rows),
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
        lines = {
            "showgrid": True,
            "gridcolor": "#9aa4b0",
            "showline": True,
            "linecolor": "#9aa4b0",
        }
        axis |= {**lines, "showbackground": False, "tickfont": {"size": 10}, "nticks": 5}
    camera = {"eye": {"x": 1.55, "y": -1.75, "z": 0.7}, "center": {"z": -0.12}}
    made.update_layout(
        scene={**scene, "camera": camera, "aspectmode": "cube"},
        margin={"l": 0, "r": 0, "t": 40, "b": 30},
        legend={"y": 0, "yanchor": "top"},
    )
    return made


def history(table: pd.DataFrame, baseline: Metrics) -> go.Figure:
    """Draw how much of the trade-off the trials cover, after each of them.

    The covered volume is the hypervolume of accuracy (from 90 % of the baseline's up to 1),
    latency and parameters (both below the baseline's), as a fraction of that box.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
    """
    title = "covered volume after each trial"
    if table.empty or not baseline or _complete(table, OBJECTIVES).empty:
        return empty(title, _NOTHING)
    ended = table[table["state"].isin(("complete", "pruned", "failed"))]
    volumes = list(volumes_over_time([_unit_point(row, baseline) for _, row in ended.iterrows()]))
    made = figure(title, showlegend=False, hovermode="x")
    made.add_scatter(
        x=ended["trial"],
        y=volumes,
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.12)",
        hovertemplate="after trial %{x}: %{y:.4f}<extra></extra>",
    )
    made.update_xaxes(title="trial", rangemode="tozero")
    made.update_yaxes(title="hypervolume (fraction)", rangemode="tozero")
    return made


def _complete(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    if table.empty or not {*metrics, *OBJECTIVES} <= set(table.columns):
        names = dict.fromkeys(["trial", "on_front", "feasible", *OBJECTIVES, *metrics])
        return pd.DataFrame(columns=list(names)).astype({"on_front": bool, "feasible": bool})
    complete = table[table["state"] == "complete"].dropna(subset=list(metrics))
    return complete.astype({"on_front": bool, "feasible": bool})


def _edge(front: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return the members of the front that are best in these two metrics alone."""
    ordered = front.sort_values([x, y], ascending=[True, False])
    return ordered[ordered[y] > ordered[y].cummax().shift(fill_value=float("-inf"))]


def _scatter(made: go.Figure, rows: pd.DataFrame, axes: tuple[str, str], **more: Any) -> None:
    if rows.empty:
        return
    made.add_scatter(
        x=rows[axes[0]],
        y=rows[axes[1]],
        mode="markers",
        text=_hover(rows),
        customdata=rows["trial"],
        hovertemplate="%{text}<extra></extra>",
        **more,
    )


def _add_baseline(made: go.Figure, baseline: Metrics, axes: tuple[str, str]) -> None:
    if not baseline:
        return
    made.add_scatter(
        x=[baseline[axes[0]]],
        y=[baseline[axes[1]]],
        mode="markers",
        name="baseline",
        marker={"symbol": "star", "size": 17, "color": VERMILLION},
        text=[_baseline_hover(baseline)],
        hovertemplate="%{text}<extra></extra>",
    )


def _error_bars(front: pd.DataFrame, x: str) -> dict[str, Any] | None:
    needed = {"latency_ratio", "latency_ratio_low", "latency_ratio_high"}
    if x not in ("latency_ms", "latency_ratio") or not needed <= set(front.columns):
        return None
    unit = front[x] / front["latency_ratio"]
    return {
        "type": "data",
        "symmetric": False,
        "array": unit * (front["latency_ratio_high"] - front["latency_ratio"]),
        "arrayminus": unit * (front["latency_ratio"] - front["latency_ratio_low"]),
        "thickness": 1.2,
        "width": 3,
        "color": GREY,
    }


def _colorbar(metric: str) -> dict[str, Any]:
    axis = axis_of(metric)
    title = {"text": axis.title, "side": "right"}
    return {"title": title, "tickformat": axis.format, "thickness": 10, "outlinewidth": 0}


def _hover(rows: pd.DataFrame) -> list[str]:
    return [_hover_of(row) for row in rows.to_dict("records")]


def _hover_of(row: Mapping[Any, Any]) -> str:
    known = {key: None if pd.isna(value) else value for key, value in row.items()}
    lines = [
        f"<b>trial {known['trial']}</b>",
        f"accuracy {percent(known.get('accuracy'))}",
        f"latency {milliseconds(known.get('latency_ms'))}, {ratio_interval(known)}",
        f"parameters {count(known.get('parameters'))}, {ratio(known.get('parameter_ratio'))}",
    ]
    recipe = str(known.get("recipe") or "")
    return "<br>".join([*lines, *(escape(part) for part in recipe.split(" · ") if part)])


def _baseline_hover(baseline: Metrics) -> str:
    return (
        f"<b>baseline</b><br>accuracy {percent(baseline['accuracy'])}<br>"
        f"latency {milliseconds(baseline['latency_ms'])}<br>"
        f"parameters {count(baseline['parameters'])}"
    )


def _unit_point(row: "pd.Series[Any]", baseline: Metrics) -> tuple[float, float, float] | None:
    if row["state"] != "complete" or not row["feasible"]:
        return None
    floor = ACCURACY_FLOOR * baseline["accuracy"]
    return (
        float((1 - row["accuracy"]) / (1 - floor)),
        float(row["latency_ms"] / baseline["latency_ms"]),
        float(row["parameters"] / baseline["parameters"]),
    )
