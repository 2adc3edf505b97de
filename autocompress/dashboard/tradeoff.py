"""What the page needs to draw any two metrics against each other, and to search within a budget.

The page computes nothing: it takes values from other columns, compares them with a bound, and
takes of a ranking the first model that is within all bounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from autocompress.figures.columns import Column, Known, columns, relative_name, staircase
from autocompress.figures.points import third_of
from autocompress.figures.view import View, default_axes
from autocompress.metrics import Metric
from autocompress.metrics.formatting import format_change, format_value, short_title
from autocompress.runs.picks import Picker, pick_names

if TYPE_CHECKING:
    from autocompress.runs import TrialRecord

_LABEL = 0.15  # of an axis: a label needs as much room to the left of its point
Shape = dict[str, Any]  # of plotly


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A column as any axis, colour or size shows it; a value is ``None`` where it is not known.

    Attributes:
        title: name and unit.
        values: of each trial.
        above: how far their intervals reach above them; ``None`` without any.
        below: how far below.
        baseline: the baseline's value.
        layout: plotly's settings of an axis.
        shapes: for an axis across (``x``) and upwards (``y``): what a limit forbids, and where
            nothing is lost.
        markers: of the front, where it shows this metric by its ``color`` or its ``size``.
        near_left: trials of the front, by position, at which a label to the left has no room.
    """

    title: str
    values: Sequence[Known]
    above: Sequence[Known] | None
    below: Sequence[Known] | None
    baseline: Known
    layout: Mapping[str, Any]
    shapes: Mapping[Literal["x", "y"], Sequence[Shape]]
    markers: Mapping[Literal["color", "size"], Mapping[str, Any]]
    near_left: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A metric that can be chosen for an axis.

    Attributes:
        name: of its column.
        title: without its unit.
        relative: name of its column beside the baseline; ``None`` where there is none.
    """

    name: str
    title: str
    relative: str | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A value that a slider can stand at."""

    value: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A bound on one objective.

    Attributes:
        metric: its name.
        text: what is bounded, in words.
        way: whether values must be at ``"most"`` or at ``"least"`` the bound.
        steps: ascending; the end that forbids nothing is no bound.
    """

    metric: str
    text: str
    way: Literal["most", "least"]
    steps: Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How one pick orders the front.

    Attributes:
        how: name of the pick.
        rows: positions of the trials of the front, the best first.
    """

    how: str
    rows: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """All that the page draws of a trade-off.

    Attributes:
        trial: number of each trial, by position.
        kind: of each trial: what it is drawn as.
        columns: by name, absolute and relative.
        choices: what can stand on an axis.
        axes: names of the metrics that are shown at first: ``x``, ``y`` and ``third``.
        edges: by the names of the metrics across and upwards: positions of the trials of the
            front that no other of it beats in these two, in the order in which steps join them.
        sliders: one for each objective that differs between trials.
        rankings: one for each pick.
        cards: what is said of each trial of the front, in lines, by position.
    """

    trial: Sequence[int]
    kind: Sequence[str]
    columns: Mapping[str, Axis]
    choices: Sequence[Choice]
    axes: Mapping[str, str | None]
    edges: Mapping[str, Mapping[str, Sequence[int]]]
    sliders: Sequence[Slider]
    rankings: Sequence[Ranking]
    cards: Mapping[str, Sequence[str]]


def tradeoff(view: View) -> Tradeoff:
    """Return what the page draws of a run's trade-off."""
    known = columns(view)
    absolute = {name: column for name, column in known.items() if not column.relative}
    across, up, third = default_axes(view)
    front = [index for index, kind in enumerate(view.kinds) if kind == "front"]
    return Tradeoff(
        trial=[trial.number for trial in view.trials],
        kind=view.kinds,
        columns={name: _axis(column) for name, column in known.items()},
        choices=[_choice(column, known) for column in absolute.values()],
        axes={"x": across.name, "y": up.name, "third": third.name if third else None},
        edges={
            x: {y: staircase(one, other) for y, other in absolute.items() if y != x}
            for x, one in absolute.items()
        },
        sliders=[slider for metric in view.objectives for slider in _sliders(view, metric)],
        rankings=_rankings(view),
        cards={str(index): card(view, view.trials[index]) for index in front},
    )


def _rankings(view: View) -> list[Ranking]:
    position = {trial.number: index for index, trial in enumerate(view.trials)}
    front = view.front_trials
    picker = Picker(view.objectives, view.score, view.metrics, view.baseline)
    return [
        Ranking(how=how, rows=[position[trial.number] for trial in picker.ranking(how, front)])
        for how in pick_names(view.objectives)
    ]


def _axis(column: Column) -> Axis:
    bars = column.bars()
    return Axis(
        title=column.title,
        values=column.values,
        above=bars[0] if bars else None,
        below=bars[1] if bars else None,
        baseline=column.baseline,
        layout=column.layout,
        shapes={"x": column.shapes("x"), "y": column.shapes("y")},
        markers={"color": third_of(column, "color"), "size": third_of(column, "size")},
        near_left=_near_left(column),
    )


def _near_left(column: Column) -> list[int]:
    if not column.layout["range"]:
        return []
    low, high = column.layout["range"]
    scaled = column.scaled(column.values)
    return [
        index
        for index in column.front
        if (value := scaled[index]) is not None and value < low + _LABEL * (high - low)
    ]


def _choice(column: Column, known: Mapping[str, Column]) -> Choice:
    name, relative = column.metric.name, relative_name(column.metric)
    return Choice(name=name, title=column.short, relative=relative if relative in known else None)


def _sliders(view: View, metric: Metric) -> list[Slider]:
    shown = ("front", "dominated")
    values = {
        trial.metrics[metric.name].value
        for trial, kind in zip(view.trials, view.kinds, strict=True)
        if kind in shown and metric.name in trial.metrics
    }
    if len(values) < 2:
        return []
    way: Literal["most", "least"] = "most" if metric.direction == "minimize" else "least"
    steps = [Step(value=value, text=format_value(metric, value)) for value in sorted(values)]
    text = f"{short_title(metric)} at {way}"
    return [Slider(metric=metric.name, text=text, way=way, steps=steps)]


def card(view: View, trial: "TrialRecord") -> list[str]:
    """Return in few lines what a model is worth: differences one by one, then all ratios."""
    lines, ratios = [], []
    for metric in view.objectives:
        found, baseline = trial.metrics[metric.name], view.baseline.get(metric.name)
        change = "" if baseline is None else format_change(metric, found, baseline)
        if metric.comparison == "ratio" and change:
            ratios.append(f"{short_title(metric)} {change}")
        else:
            more = f" ({change})" if change else ""
            lines.append(f"{short_title(metric)} {format_value(metric, found)}{more}")
    return [*lines, *([" · ".join(ratios)] if ratios else [])]
