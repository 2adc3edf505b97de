"""What a figure shows of the trials that it draws as points."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from autocompress.figures.columns import Column, Known
from autocompress.figures.style import BLUE, FAINT, GREY, ORANGE, SCALE
from autocompress.figures.view import View
from autocompress.metrics import Metric
from autocompress.metrics.formatting import format_interval, format_value, short_title
from autocompress.results import Estimates

if TYPE_CHECKING:
    from autocompress.runs import TrialRecord

MARKS: Mapping[str, tuple[str, dict[str, Any]]] = {  # kind -> name in the legend, marker
    "front": ("front", {"size": 13, "color": BLUE, "line": {"color": "white", "width": 1}}),
    "dominated": ("dominated", {"size": 7, "color": FAINT}),
    "infeasible": ("breaks a limit", {"size": 8, "color": ORANGE, "symbol": "x-thin-open"}),
    "stopped": ("stopped early", {"size": 8, "color": GREY, "symbol": "triangle-down-open"}),
}
DERIVED = "derived"
_SIZES = (8.0, 26.0)  # pixels, of the smallest and the largest value


def rows_of(kinds: Sequence[str], name: str) -> list[int]:
    """Return the positions of the trials of one kind."""
    return [index for index, own in enumerate(kinds) if own == name]


def third_of(column: Column, how: Literal["color", "size"]) -> dict[str, Any]:
    """Return the marker of the front that shows a metric by its colour or its size."""
    values = column.scaled(column.values[index] for index in column.front)
    known = [value for value in values if value is not None]
    if how == "size":
        return {"size": _sizes(values, known), "opacity": 0.85, "color": BLUE, "showscale": False}
    return {
        "color": values,
        "colorscale": SCALE,
        "showscale": len(set(known)) > 1,
        "colorbar": column.colour_bar,
    }


def _sizes(values: Sequence[Known], known: Sequence[float]) -> list[float]:
    low = min(known, default=0.0)
    scale = (_SIZES[1] - _SIZES[0]) / ((max(known, default=0.0) - low) or 1.0)
    return [_SIZES[0] + (0.0 if value is None else (value - low) * scale) for value in values]


def symbols_of(trials: "Sequence[TrialRecord]", name: str) -> Any:
    """Return the symbols of trials of one kind; derived ones have their own."""
    own = MARKS[name][1].get("symbol", "circle")
    if not any(is_derived(trial) for trial in trials):
        return own
    derived = "diamond-x-open" if name == "infeasible" else "diamond"
    return [derived if is_derived(trial) else own for trial in trials]


def is_derived(trial: "TrialRecord") -> bool:
    """Return whether a trial shares the training run of another."""
    return trial.parent is not None


def hover_of_baseline(view: View) -> str:
    """Return what is shown of the baseline when it is pointed at."""
    return "<br>".join(["<b>baseline</b>", *_numbers(view.objectives, view.baseline, {})])


def hover_of(view: View, trial: "TrialRecord") -> str:
    """Return what is shown of a trial when it is pointed at; texts are escaped."""
    lines = [f"<b>trial {trial.number}</b>"]
    bound = None if trial.failure is None else trial.failure.bound
    shown = view.objectives
    if bound is not None:
        best = "at most" if view.score.direction == "maximize" else "at least"
        lines.append(f"{escape(short_title(view.score))} {best} {format_value(view.score, bound)}")
        shown = tuple(metric for metric in shown if metric.name != view.score.name)
    lines += _numbers(shown, trial.metrics, view.baseline)
    if is_derived(trial):
        lines.append(f"derived from trial {trial.parent}")
    return "<br>".join([*lines, *(escape(part) for part in trial.in_short.split(" · ") if part)])


def _numbers(metrics: Sequence[Metric], found: Estimates, baseline: Estimates) -> list[str]:
    lines = []
    for metric in metrics:
        estimate, reference = found.get(metric.name), baseline.get(metric.name)
        text = f"{short_title(metric)} {format_value(metric, estimate)}"
        if estimate is not None and reference is not None:
            text += f", {format_interval(metric, estimate, reference)}"
        lines.append(escape(text))
    return lines
