"""Figures of a study as a whole: how it went."""

from datetime import datetime

import plotly.graph_objects as go

from autocompress.figures.style import (
    BLUE,
    GREEN,
    GREY,
    NOTHING,
    ORANGE,
    VERMILLION,
    empty,
    figure,
)
from autocompress.figures.view import Shown, View, view_of
from autocompress.figures.volume import unit_point, volumes_over_time
from autocompress.metrics.formatting import duration

ENDED = ("complete", "pruned", "failed")
_STATE_COLOURS = {
    "complete": BLUE,
    "pruned": ORANGE,
    "failed": VERMILLION,
    "running": GREEN,
}


def history(run: Shown) -> go.Figure:
    """Draw how much of the trade-off the trials cover, over the time that the study has taken.

    The covered volume is the hypervolume of the objectives, as a fraction of a box: what is
    minimized counts below the baseline, what is maximized from 90 % of the baseline on (a
    fraction up to 1).

    Args:
        run: any run, or a view of one.
    """
    title = "covered volume over time"
    view = view_of(run)
    ended = sorted(
        ((t.finished, t) for t in view.trials if t.state in ENDED and t.finished is not None),
        key=lambda pair: pair[0],
    )
    begins = [trial.started for trial in view.trials if trial.started is not None]
    if not view.baseline or not view.complete or not begins or not ended:
        return empty(title, NOTHING)
    points = [
        unit_point(t.metrics, view.baseline, view.objectives)
        if t.state == "complete" and t.feasible
        else None
        for _, t in ended
    ]
    made = figure(title, showlegend=False, hovermode="x")
    made.add_scatter(
        x=[_minutes(min(begins), finished) for finished, _ in ended],
        y=list(volumes_over_time(points, len(view.objectives))),
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.12)",
        customdata=[trial.number for _, trial in ended],
        hovertemplate="%{x:.1f} min, trial %{customdata}: %{y:.4f}<extra></extra>",
    )
    made.update_xaxes(title="minutes since the first trial began", rangemode="tozero")
    made.update_yaxes(title="hypervolume (fraction)", rangemode="tozero")
    return made


def _minutes(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() / 60


def timeline(run: Shown) -> go.Figure:
    """Draw when each trial ran, a line for each worker, coloured by how it ended.

    Workers are recognised by their overlaps: a trial takes the first line that is free.

    Args:
        run: any run, or a view of one.
    """
    title = "timeline"
    lanes, bars = _lanes(view_of(run))
    if not bars:
        return empty(title, "no trial has begun yet")
    made = figure(title, barmode="overlay", hovermode="closest")
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
    made.update_layout(height=180 + 34 * lanes)
    return made


def _lanes(view: View) -> tuple[int, dict[str, list[tuple[float, float, int, str]]]]:
    """Return the number of lanes, and by state the start, length, lane and text of each bar."""
    ran = sorted(
        ((t.started, t) for t in view.trials if t.started is not None and t.parent is None),
        key=lambda pair: pair[0],
    )
    if not ran:
        return 0, {}
    begin = ran[0][0]
    now = max([started for started, _ in ran] + [t.finished for _, t in ran if t.finished])
    free: list[datetime] = []
    bars: dict[str, list[tuple[float, float, int, str]]] = {}
    for started, trial in ran:
        end = trial.finished or now
        lane = next((i for i, since in enumerate(free) if since <= started), len(free))
        free[lane : lane + 1] = [end]
        text = f"<b>trial {trial.number}</b><br>{trial.state} after "
        text += duration((end - started).total_seconds())
        bar = (_minutes(begin, started), _minutes(started, end), lane + 1, text)
        bars.setdefault(trial.state, []).append(bar)
    return len(free), bars
