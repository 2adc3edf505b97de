"""The tables of the page, as plain documents: headings, and rows of cells."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autocompress.dashboard.comparison import Controls
from autocompress.figures.view import View
from autocompress.metrics import Metric
from autocompress.metrics.formatting import (
    duration,
    format_change,
    format_interval,
    format_value,
    short_title,
)
from autocompress.metrics.splits import name_on_test, split_title
from autocompress.results import Estimates

if TYPE_CHECKING:
    from autocompress.runs import TrialRecord

_NUMBER = re.compile(r"\d+(\.\d+)?")
_MOST_NAMED = 12  # trials of one state and reason


@dataclass(frozen=True)
class Heading:
    """What stands above a column.

    Attributes:
        title: its text.
        kind: ``"number"`` stands to the right; others are the page's names for kinds of text.
    """

    title: str
    kind: str = "number"


@dataclass(frozen=True)
class Cell:
    """What stands in a column.

    Attributes:
        text: what is shown.
        sort: what orders it; ``None``: its text.
    """

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns, and rows with a cell for each of them."""

    columns: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]


Row = Mapping[str, Cell]


def _table(headings: Mapping[str, Heading], rows: Iterable[Row]) -> Table:
    filled = [[row.get(key, Cell("")) for key in headings] for row in rows]
    return Table(list(headings.values()), filled)


def _headings(view: View, *, tested: bool) -> dict[str, Heading]:
    """Return a column for each objective, its test score, and what it is beside the baseline."""
    found = {}
    for metric in view.objectives:
        found[metric.name] = Heading(split_title(metric, view.metrics))
        test = view.metrics.get(name_on_test(metric))
        if tested and test is not None:
            found[test.name] = Heading(split_title(test, view.metrics))
        if metric.comparison == "ratio":
            found[metric.ratio_name] = Heading("of baseline")
    return found


def _numbers(view: View, found: Estimates) -> dict[str, Cell]:
    cells = {}
    for name, estimate in found.items():
        metric, baseline = view.metrics.get(name), view.baseline.get(name)
        if metric is None:
            continue
        cells[name] = Cell(format_value(metric, estimate), estimate.value)
        if metric.comparison == "ratio" and baseline is not None:
            text = format_interval(metric, estimate, baseline)
            cells[metric.ratio_name] = Cell(text, metric.beside(estimate.value, baseline.value))
    return cells


def _trial(view: View, trial: "TrialRecord") -> dict[str, Cell]:
    return {
        "trial": Cell(str(trial.number), trial.number),
        **_numbers(view, trial.metrics),
        "recipe": Cell(trial.in_short),
    }


def front_table(view: View) -> Table:
    """Return the baseline and the front, in its order."""
    front = view.front_trials
    tests = {name_on_test(metric) for metric in view.objectives}
    tested = any(tests & trial.metrics.keys() for trial in front)
    headings = {
        "trial": Heading("trial", "trial"),
        **_headings(view, tested=tested),
        "recipe": Heading("recipe", "recipe"),
    }
    baseline = {"trial": Cell("baseline"), **_numbers(view, view.baseline)}
    rows = [baseline] if view.baseline else []
    return _table(headings, [*rows, *(_trial(view, trial) for trial in front)])


def controls_table(controls: Sequence[Controls], objectives: Sequence[Metric]) -> Table:
    """Return the search beside its controls."""
    headings = {
        "what": Heading("", "what"),
        "trials": Heading("trials"),
        "volume": Heading("covered volume"),
        **{metric.name: Heading(short_title(metric)) for metric in objectives},
    }
    rows = []
    for control in controls:
        row = {"what": Cell(control.text)}
        if control.trials is not None:
            row["trials"] = Cell(str(control.trials), control.trials)
        if control.volume is not None:
            row["volume"] = Cell(f"{control.volume:.3f}", control.volume)
        for metric in objectives:
            found, baseline = control.metrics.get(metric.name), control.baseline.get(metric.name)
            if found is not None:
                ratio = metric.comparison == "ratio" and baseline is not None
                text = format_change(metric, found, baseline) if ratio else ""
                row[metric.name] = Cell(text or format_value(metric, found), found.value)
        rows.append(row)
    return _table(headings, rows)


def trial_table(view: View) -> Table:
    """Return all trials, with their states and the reasons of failures and stops."""
    headings = {
        "trial": Heading("trial", "trial"),
        **_headings(view, tested=False),
        "state": Heading("state", "state"),
        "time": Heading("time"),
        "recipe": Heading("recipe", "recipe"),
    }
    rows: list[Row] = [
        {
            **_trial(view, trial),
            "state": Cell(state_of(trial, view.front)),
            "time": Cell(duration(trial.duration_s), trial.duration_s),
            "reason": Cell(reason_of(trial)),
        }
        for trial in view.trials
    ]
    if any(row["reason"].text for row in rows):
        headings["reason"] = Heading("reason", "reason")
    return _table(headings, rows)


def states_table(view: View) -> Table:
    """Return how many trials ended how and why; reasons that differ in numbers alone are one."""
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in view.trials:
        why = _NUMBER.sub("#", reason_of(trial))
        groups.setdefault((state_of(trial, view.front), why), []).append(trial)
    rows: list[Row] = []
    for (state, _), own in sorted(groups.items(), key=lambda item: -len(item[1])):
        named = own if reason_of(own[0]) else []
        which = ", ".join(str(trial.number) for trial in named[:_MOST_NAMED])
        more = " ..." if len(named) > _MOST_NAMED else ""
        example = "such as: " if len({reason_of(trial) for trial in own}) > 1 else ""
        rows.append(
            {
                "state": Cell(state),
                "count": Cell(str(len(own)), len(own)),
                "reason": Cell(example + reason_of(own[0])),
                "which": Cell(which + more),
            }
        )
    headings = {
        "state": Heading("state", "state"),
        "count": Heading("trials"),
        "reason": Heading("reason", "reason"),
        "which": Heading("which trials", "which"),
    }
    return _table(headings, rows)


def state_of(trial: "TrialRecord", front: Sequence[int]) -> str:
    """Return how a trial ended, in the words of the page."""
    if trial.number in front:
        return "front"
    return "breaks a limit" if trial.state == "complete" and not trial.feasible else trial.state


def reason_of(trial: "TrialRecord") -> str:
    """Return why a trial failed, was stopped or breaks a limit; else an empty text."""
    if trial.failure is not None:
        stage, reason = trial.failure.stage, trial.failure.reason
        return f"{stage}: {reason}" if stage else reason
    if trial.state != "complete":
        return ""
    broken = {name: by for name, by in trial.violations.items() if by > 0}
    return "; ".join(f"{name.replace('_', ' ')} {by:.3g} over" for name, by in broken.items())
