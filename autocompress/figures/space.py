"""A run's trade-off in space: three metrics at once."""

import plotly.graph_objects as go

from autocompress.figures.columns import columns
from autocompress.figures.points import MARKS, hover_of, hover_of_baseline, is_derived, rows_of
from autocompress.figures.style import NOTHING, VERMILLION, empty, figure
from autocompress.figures.tradeoffs import chosen
from autocompress.figures.view import KINDS, Shown, default_axes, view_of

_SYMBOLS = {"infeasible": "cross", "stopped": "square-open"}  # there are few in space
_SIZES = {"front": 6.0, "infeasible": 5.0}
_COLOURS = {"dominated": "#8b939c", "stopped": "#8b939c"}  # WebGL leaves out what is translucent
_LINES = "#9aa4b0"


def pareto_3d(
    run: Shown, *, x: str | None = None, y: str | None = None, z: str | None = None
) -> go.Figure:
    """Draw three metrics of all trials in space; kinds look different, as in ``pareto``.

    Args:
        run: any run, or a view of one.
        x: metric of the first axis; by default the second objective.
        y: metric of the second axis; by default the third objective, or else any other metric.
        z: metric upwards; by default the first objective. All may be relative, as for ``pareto``.

    Raises:
        UsageError: there is no metric of that name; the message lists those that there are.
    """
    title = "three metrics at once"
    view = view_of(run)
    known, kinds = columns(view), view.kinds
    if not any(kinds):
        return empty(title, NOTHING)
    across, up, third = default_axes(view)
    others = [column.metric for column in known.values() if column.metric not in (across, up)]
    beside = third or (others or [up])[0]
    axes = [chosen(known, *pair) for pair in ((x, across), (y, beside), (z, up))]
    made = figure(title, meta={"third": y or beside.name})
    for name in reversed(KINDS):
        rows = rows_of(kinds, name)
        if not rows:
            continue
        own, trials = _SYMBOLS.get(name, "circle"), [view.trials[i] for i in rows]
        made.add_scatter3d(
            **{at: [axis.values[i] for i in rows] for at, axis in zip("xyz", axes, strict=True)},
            mode="markers",
            name=MARKS[name][0],
            marker={
                "size": _SIZES.get(name, 3.5),
                "color": _COLOURS.get(name, MARKS[name][1]["color"]),
                "symbol": ["diamond" if is_derived(trial) else own for trial in trials],
            },
            text=[hover_of(view, trial) for trial in trials],
            customdata=[trial.number for trial in trials],
            hovertemplate="%{text}<extra></extra>",
            meta={"kind": name, "rows": rows},
        )
    if all(axis.baseline is not None for axis in axes):
        made.add_scatter3d(
            **{at: [axis.baseline] for at, axis in zip("xyz", axes, strict=True)},
            mode="markers",
            name="baseline",
            marker={"size": 7, "color": VERMILLION, "symbol": "square"},
            text=[hover_of_baseline(view)],
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
