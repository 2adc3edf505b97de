"""Figures of the search parameters: which of them matter, and what their values led to."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from autocompress.figures.columns import columns
from autocompress.figures.style import (
    BLUE,
    FAINT,
    GREY,
    MANY,
    NOTHING,
    ORANGE,
    SCALE,
    SMALL,
    empty,
    figure,
    panels,
)
from autocompress.figures.view import Shown, view_of
from autocompress.metrics import Metric
from autocompress.metrics.formatting import axis_format, axis_title, short_title

if TYPE_CHECKING:
    from autocompress.runs import Run, TrialRecord

_MOST_TICKS = 12  # categories that an axis can name
_MOST_SLICES = 3  # panels beside each other


def importance(run: "Run") -> go.Figure:
    """Draw how much each search parameter matters to each objective, and which way it pulls.

    Args:
        run: any run; it needs eight complete trials that differ.
    """
    return importance_of(run.importances(), run.objectives)


def importance_of(importances: pd.DataFrame, objectives: Sequence[Metric]) -> go.Figure:
    """Draw a table of importances.

    Args:
        importances: columns ``objective``, ``parameter``, ``importance`` (fractions that sum to 1
            per objective) and ``correlation`` (rank correlation of parameter and objective in
            [-1, 1]; NaN for a choice), as ``Run.importances`` returns them.
        objectives: a panel for each.
    """
    title = "what matters"
    if importances.empty:
        return empty(title, "this needs eight complete trials that differ", height=SMALL)
    made = panels(title, cols=len(objectives))
    order = importances.groupby("parameter")["importance"].max().sort_values().index[-_MOST_TICKS:]
    for column, metric in enumerate(objectives, start=1):
        own = importances[importances["objective"] == metric.name]
        own = own.set_index("parameter").reindex(order)
        made.add_bar(
            x=own["importance"].fillna(0).tolist(),
            y=[escape(str(name)) for name in own.index],
            orientation="h",
            marker={"color": [_pull_colour(metric, c) for c in own["correlation"]]},
            text=[_pull(metric, c) for c in own["correlation"]],
            textposition="none",
            hovertemplate="%{y}: %{x:.1%}<br>%{text}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
        words = escape(short_title(metric))
        made.update_xaxes(title=words, tickformat=".0%", rangemode="tozero", col=column)
    for name, colour in (("more is better", BLUE), ("more is worse", ORANGE), ("a choice", GREY)):
        made.add_bar(x=[None], y=[None], name=name, marker={"color": colour})
    made.update_layout(height=150 + 26 * len(order), barmode="overlay")
    return made


def _pull_colour(metric: Metric, correlation: float) -> str:
    if math.isnan(correlation):
        return GREY
    return ORANGE if metric.sign * correlation > 0 else BLUE


def _pull(metric: Metric, correlation: float) -> str:
    if math.isnan(correlation):
        return "a choice: see the slices"
    way = "raises" if correlation > 0 else "lowers"
    return f"more of it {way} {escape(short_title(metric))} ({correlation:+.2f})"


def parallel(run: Shown) -> go.Figure:
    """Draw each complete trial as a line through its parameters and objectives.

    The colour is the task's score, or the first objective where that is none.

    Args:
        run: any run, or a view of one.
    """
    title = "parallel coordinates"
    view = view_of(run)
    complete = view.complete
    if not complete:
        return empty(title, NOTHING, height=SMALL)
    dimensions = [
        _dimension(name, [trial.params.get(name) for trial in complete])
        for name in _varied(complete)
    ]
    dimensions += [
        {
            "label": axis_title(metric),
            "values": [trial.metrics[metric.name].value for trial in complete],
            "tickformat": axis_format(metric),
        }
        for metric in view.objectives
    ]
    lead = view.score if view.score in view.objectives else view.objectives[0]
    values = [trial.metrics[lead.name].value for trial in complete]
    made = figure(title)
    made.add_parcoords(
        dimensions=dimensions,
        line={"color": values, "colorscale": SCALE, "showscale": False},
        labelangle=-20,
        tickfont={"size": 10},
        rangefont={"size": 9},
    )
    made.update_layout(height=420, margin={"l": 70, "r": 70, "t": 120, "b": 30})
    return made


def _varied(trials: "Sequence[TrialRecord]") -> list[str]:
    """Return the parameters that differ between trials, in the order of their first mention."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [name for name in names if len({repr(trial.params.get(name)) for trial in trials}) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dimension(label: str, values: Sequence[Any]) -> dict[str, Any]:
    if all(map(_is_number, values)):
        return {"label": label, "values": [float(value) for value in values]}
    words = ["-" if value is None else str(value) for value in values]
    names = sorted(set(words))[:_MOST_TICKS]
    codes = [names.index(word) if word in names else len(names) for word in words]
    return {
        "label": label,
        "values": codes,
        "tickvals": list(range(len(names))),
        "ticktext": names,
    }


def slices(run: Shown, parameters: Sequence[str] | None = None) -> go.Figure:
    """Draw the score by the choices of some parameters: every trial, and the middle half.

    Args:
        run: any run, or a view of one.
        parameters: names; those that the run lacks, or that never vary, are left out. By default
            the first three that are choices.
    """
    view = view_of(run)
    title = f"{short_title(view.score)} by choice"
    complete = [trial for trial in view.complete if view.score.name in trial.metrics]
    chosen = [
        (name, groups)
        for name in (parameters or _choices(complete)[:_MOST_SLICES])
        if len(groups := _by_value(complete, name)) > 1
    ]
    if not chosen:
        return empty(title, "no choice of these has varied yet", height=SMALL)
    made = panels(title, cols=len(chosen))
    for column, (name, groups) in enumerate(chosen, start=1):
        for choice in sorted(groups):
            made.add_box(
                y=[trial.metrics[view.score.name].value for trial in groups[choice]],
                name=escape(choice),
                boxpoints="all" if len(complete) <= MANY else False,
                jitter=0.4,
                pointpos=0,
                marker={"size": 5, "color": BLUE, "opacity": 0.7},
                line={"color": FAINT, "width": 1.2},
                fillcolor="rgba(0,0,0,0)",
                text=[f"trial {trial.number}" for trial in groups[choice]],
                hoveron="points",
                hovertemplate="%{text}: %{y}<extra></extra>",
                showlegend=False,
                row=1,
                col=column,
            )
        made.update_xaxes(title=escape(name), col=column)
    made.update_yaxes(tickformat=axis_format(view.score))
    made.update_yaxes(title=columns(view)[view.score.name].title, col=1)
    return made


def _choices(trials: "Sequence[TrialRecord]") -> list[str]:
    values = {name: [trial.params.get(name) for trial in trials] for name in _varied(trials)}
    return [name for name, own in values.items() if any(isinstance(value, str) for value in own)]


def _by_value(trials: "Sequence[TrialRecord]", name: str) -> "Mapping[str, list[TrialRecord]]":
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        value = trial.params.get(name)
        if value is not None:
            groups.setdefault(str(value), []).append(trial)
    return groups
