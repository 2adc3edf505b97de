"""Figures of a study: how it went, and which of its knobs matter."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from autocompress.figures.hypervolume import volumes_over_time
from autocompress.figures.points import MANY, NOTHING, OBJECTIVES, complete_trials, is_missing
from autocompress.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    ORANGE,
    SCALE,
    SMALL,
    VERMILLION,
    axis_layout,
    axis_of,
    empty,
    figure,
    panels,
)
from autocompress.wording import duration

Metrics = Mapping[str, Any]
ACCURACY_FLOOR = 0.9  # of the baseline's accuracy: where the covered volume begins
ENDED = ("complete", "pruned", "failed")
KNOB = "recipe."  # what the columns of knobs begin with
SLICED = ("recipe.granularity", "recipe.criterion", "recipe.schedule")
_STATE_COLOURS = {
    "complete": BLUE,
    "pruned": ORANGE,
    "failed": VERMILLION,
    "running": GREEN,
}
_MOST_TICKS = 12  # categories that an axis can name


def history(table: pd.DataFrame, baseline: Metrics) -> go.Figure:
    """Draw how much of the trade-off the trials cover, over the time that the study has taken.

    The covered volume is the hypervolume of accuracy (from 90 % of the baseline's up to 1),
    latency and parameters (both below the baseline's), as a fraction of that box.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``.
    """
    title = "covered volume over time"
    if table.empty or not baseline or complete_trials(table).empty:
        return empty(title, NOTHING)
    ended = table[table["state"].isin(ENDED)].sort_values("finished")
    records = ended.to_dict("records")
    volumes = list(volumes_over_time([_unit_point(row, baseline) for row in records]))
    minutes = (ended["finished"] - table["started"].min()).dt.total_seconds() / 60
    made = figure(title, showlegend=False, hovermode="x")
    made.add_scatter(
        x=minutes.tolist(),
        y=volumes,
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.12)",
        customdata=ended["trial"].tolist(),
        hovertemplate="%{x:.1f} min, trial %{customdata}: %{y:.4f}<extra></extra>",
    )
    made.update_xaxes(title="minutes since the first trial began", rangemode="tozero")
    made.update_yaxes(title="hypervolume (fraction)", rangemode="tozero")
    return made


def _unit_point(row: Mapping[Any, Any], baseline: Metrics) -> tuple[float, float, float] | None:
    if row["state"] != "complete" or not row["feasible"]:
        return None
    floor = ACCURACY_FLOOR * baseline["accuracy"]
    return (
        float((1 - row["accuracy"]) / (1 - floor)),
        float(row["latency_ms"] / baseline["latency_ms"]),
        float(row["parameters"] / baseline["parameters"]),
    )


def timeline(table: pd.DataFrame) -> go.Figure:
    """Draw when each trial ran, a line for each worker, coloured by how it ended.

    Workers are told apart by their overlaps: a trial takes the first line that is free.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
    """
    title = "timeline"
    if "started" not in table or table["started"].isna().all():
        return empty(title, "no trial has begun yet")
    ran = table[table["started"].notna()].sort_values("started")
    if "harvested_from" in ran:
        ran = ran[ran["harvested_from"].isna()]
    begin = ran["started"].min()
    now = pd.concat([ran["started"], ran["finished"].dropna()]).max()
    made = figure(title, barmode="overlay", hovermode="closest")
    lanes: list[Any] = []
    bars: dict[str, list[tuple[float, float, int, str]]] = {}
    for row in ran.to_dict("records"):
        end = now if pd.isna(row["finished"]) else row["finished"]
        lane = next((i for i, free in enumerate(lanes) if free <= row["started"]), len(lanes))
        lanes[lane : lane + 1] = [end]
        start = (row["started"] - begin).total_seconds()
        length = (end - row["started"]).total_seconds()
        told = f"<b>trial {row['trial']}</b><br>{row['state']} after {duration(length)}"
        bars.setdefault(row["state"], []).append((start / 60, length / 60, lane + 1, told))
    for state, own in bars.items():
        starts, lengths, lines, texts = zip(*own, strict=True)
        made.add_bar(
            base=starts,
            x=lengths,
            y=lines,
            orientation="h",
            name=state,
            marker={"color": _STATE_COLOURS.get(state, GREY), "line": {"width": 0.5}},
            text=texts,
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    made.update_xaxes(title="minutes since the first trial began")
    made.update_yaxes(title="worker", dtick=1, autorange="reversed")
    made.update_layout(height=180 + 34 * len(lanes))
    return made


def importance(importances: pd.DataFrame) -> go.Figure:
    """Draw how much each knob matters to each objective, and which way it pulls.

    Args:
        importances: columns ``objective``, ``knob``, ``importance`` (fractions that sum to 1 per
            objective) and ``correlation`` (rank correlation of knob and objective in [-1, 1];
            NaN for a choice), as ``Run.importances`` returns them.
    """
    title = "what matters"
    if importances.empty:
        return empty(title, "this needs eight complete trials that differ", height=SMALL)
    objectives = list(dict.fromkeys(importances["objective"]))
    made = panels(title, cols=len(objectives))
    order = importances.groupby("knob")["importance"].max().sort_values().index[-_MOST_TICKS:]
    for column, objective in enumerate(objectives, start=1):
        own = importances[importances["objective"] == objective].set_index("knob").reindex(order)
        made.add_bar(
            x=own["importance"].fillna(0).tolist(),
            y=[escape(str(knob)) for knob in own.index],
            orientation="h",
            marker={"color": [_pull_colour(objective, c) for c in own["correlation"]]},
            text=[_pull(objective, c) for c in own["correlation"]],
            textposition="none",
            hovertemplate="%{y}: %{x:.1%}<br>%{text}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
        title_of = axis_of(objective).title.split(" (")[0]
        made.update_xaxes(title=title_of, tickformat=".0%", rangemode="tozero", col=column)
    for name, colour in (("more is better", BLUE), ("more is worse", ORANGE), ("a choice", GREY)):
        made.add_bar(x=[None], y=[None], name=name, marker={"color": colour})
    made.update_layout(height=150 + 26 * len(order), barmode="overlay")
    return made


def _pull_colour(objective: str, correlation: Any) -> str:
    if pd.isna(correlation):
        return GREY
    return BLUE if (correlation > 0) == axis_of(objective).higher_is_better else ORANGE


def _pull(objective: str, correlation: Any) -> str:
    if pd.isna(correlation):
        return "a choice: see the slices"
    way = "raises" if correlation > 0 else "lowers"
    return f"more of it {way} {axis_of(objective).title.split(' (')[0]} ({correlation:+.2f})"


def parallel(table: pd.DataFrame) -> go.Figure:
    """Draw each complete trial as a line through its knobs and objectives, coloured by accuracy.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
    """
    title = "parallel coordinates"
    complete = complete_trials(table)
    if complete.empty:
        return empty(title, NOTHING, height=SMALL)
    knobs = [name for name in complete if str(name).startswith(KNOB)]
    varied = [name for name in knobs if complete[name].map(str).nunique() > 1]
    dimensions = [_dimension(str(name).removeprefix(KNOB), complete[name]) for name in varied]
    dimensions += [_dimension(axis_of(metric).title, complete[metric]) for metric in OBJECTIVES]
    made = figure(title)
    made.add_parcoords(
        dimensions=dimensions,
        line={"color": complete["accuracy"].tolist(), "colorscale": SCALE, "showscale": False},
        labelangle=-20,
        tickfont={"size": 10},
        rangefont={"size": 9},
    )
    made.update_layout(height=420, margin={"l": 70, "r": 70, "t": 120, "b": 30})
    return made


def _dimension(label: str, values: "pd.Series[Any]") -> dict[str, Any]:
    numbers = pd.to_numeric(values.where(~values.map(lambda v: isinstance(v, bool))), "coerce")
    if numbers.notna().all():
        return {"label": label, "values": numbers.astype(float).tolist()}
    words = values.map(lambda value: "-" if is_missing(value) else str(value))
    names = sorted(set(words))[:_MOST_TICKS]
    codes = [names.index(word) if word in names else len(names) for word in words]
    return {
        "label": label,
        "values": codes,
        "tickvals": list(range(len(names))),
        "ticktext": names,
    }


def slices(table: pd.DataFrame, knobs: Sequence[str] = SLICED) -> go.Figure:
    """Draw accuracy by the choices of some knobs: every trial of a few, and the middle half.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        knobs: columns of the table; those that it lacks, or that never vary, are left out.
    """
    title = "accuracy by choice"
    complete = complete_trials(table)
    there = [k for k in knobs if k in complete and complete[k].dropna().nunique() > 1]
    if not there:
        return empty(title, "no choice of these has varied yet", height=SMALL)
    made = panels(title, cols=len(there))
    for column, knob in enumerate(there, start=1):
        for choice, rows in complete.dropna(subset=[knob]).groupby(knob):
            made.add_box(
                y=rows["accuracy"].tolist(),
                name=escape(str(choice)),
                boxpoints="all" if len(complete) <= MANY else False,
                jitter=0.4,
                pointpos=0,
                marker={"size": 5, "color": BLUE, "opacity": 0.7},
                line={"color": FAINT, "width": 1.2},
                fillcolor="rgba(0,0,0,0)",
                text=[f"trial {n}" for n in rows["trial"]],
                hoveron="points",
                hovertemplate="%{text}: %{y:.2%}<extra></extra>",
                showlegend=False,
                row=1,
                col=column,
            )
        made.update_xaxes(title=escape(knob.removeprefix(KNOB)), col=column)
    made.update_yaxes(tickformat=axis_of("accuracy").format)
    made.update_yaxes(axis_layout("accuracy", []), col=1)
    return made
