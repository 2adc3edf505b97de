"""The tables of the page, as plain documents: columns, and rows of cells."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autocompress.dashboard.comparison import COLUMNS, comparison
from autocompress.study.records import Run
from autocompress.study.trials import TrialRecord
from autocompress.wording import (
    count,
    duration,
    milliseconds,
    percent,
    ratio,
    ratio_interval,
)

Cell = dict[str, Any]  # {"text": what is shown, "sort": what orders it}
Data = Mapping[str, Any]
_NUMBER = re.compile(r"\d+(\.\d+)?")
_MOST_NAMED = 12  # trials of one state and reason
_COLUMNS = {
    "trial": "trial",
    "accuracy": "accuracy, valid",
    "test_accuracy": "accuracy, test",
    "latency_ms": "latency",
    "latency_ratio": "of baseline (95 %)",
    "parameters": "parameters",
    "parameter_ratio": "of baseline",
    "size_bytes": "size",
    "recipe": "recipe",
}


def _row(metrics: Data, trial: str, recipe: str) -> dict[str, Cell]:
    texts = {
        "trial": trial,
        "accuracy": percent(metrics.get("accuracy")),
        "test_accuracy": percent(metrics.get("test_accuracy")),
        "latency_ms": milliseconds(metrics.get("latency_ms")),
        "latency_ratio": ratio_interval(metrics),
        "parameters": count(metrics.get("parameters")),
        "parameter_ratio": ratio(metrics.get("parameter_ratio")),
        "size_bytes": count(metrics.get("size_bytes"), "B"),
        "recipe": recipe,
    }
    return {key: {"text": text, "sort": metrics.get(key, text)} for key, text in texts.items()}


def front_table(front: Sequence[TrialRecord], baseline: Data) -> dict[str, Any]:
    """Return the baseline and the front, in its order."""
    tested = any("test_accuracy" in trial.metrics for trial in front)
    keys = [key for key in _COLUMNS if tested or key != "test_accuracy"]
    rows = [_row(baseline, "baseline", "")] if baseline else []
    for trial in front:
        row = _row(trial.metrics, str(trial.number), trial.in_short)
        row["trial"]["sort"] = trial.number
        rows.append(row)
    return _table({key: _COLUMNS[key] for key in keys}, rows)


def controls_table(run: Run) -> dict[str, Any]:
    """Return the search beside its controls."""
    names = {name or "what": name for name in COLUMNS}
    rows = [
        {name: {"text": text} for name, text in zip(names, row, strict=True)}
        for row in comparison(run)
    ]
    return _table(names, rows)


def trial_table(trials: Sequence[TrialRecord], on_front: set[int]) -> dict[str, Any]:
    """Return all trials, with their states and the reasons of failures and stops."""
    keys = ("trial", "accuracy", "latency_ms", "latency_ratio", "parameters", "parameter_ratio")
    names = {key: _COLUMNS[key] for key in keys}
    names |= {"state": "state", "time": "time", "recipe": "recipe", "reason": "reason"}
    rows = []
    for trial in trials:
        row = _row(trial.metrics, str(trial.number), trial.in_short)
        row["trial"]["sort"] = trial.number
        seconds = trial.duration_s
        row |= {
            "state": {"text": state_of(trial, on_front)},
            "time": {"text": duration(seconds), "sort": seconds},
            "reason": {"text": reason_of(trial)},
        }
        rows.append(row)
    if not any(row["reason"]["text"] for row in rows):
        del names["reason"]
    return _table(names, rows)


def states_table(trials: Sequence[TrialRecord], on_front: set[int]) -> dict[str, Any]:
    """Return how many trials ended how and why; reasons that differ in numbers alone are one."""
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in trials:
        why = _NUMBER.sub("#", reason_of(trial))
        groups.setdefault((state_of(trial, on_front), why), []).append(trial)
    rows: list[dict[str, Cell]] = []
    for (state, _), own in sorted(groups.items(), key=lambda item: -len(item[1])):
        told = own if reason_of(own[0]) else []
        named = ", ".join(str(trial.number) for trial in told[:_MOST_NAMED])
        more = " ..." if len(told) > _MOST_NAMED else ""
        example = "such as: " if len({reason_of(trial) for trial in own}) > 1 else ""
        rows.append(
            {
                "state": {"text": state},
                "count": {"text": str(len(own)), "sort": len(own)},
                "reason": {"text": example + reason_of(own[0])},
                "which": {"text": named + more},
            }
        )
    names = {"state": "state", "count": "trials", "reason": "reason", "which": "which trials"}
    return _table(names, rows)


def state_of(trial: TrialRecord, on_front: set[int]) -> str:
    """Return how a trial ended, in the words of the page."""
    if trial.number in on_front:
        return "front"
    return "breaks a limit" if trial.state == "complete" and not trial.feasible else trial.state


def reason_of(trial: TrialRecord) -> str:
    """Return why a trial failed, was stopped or breaks a limit; else an empty text."""
    if trial.reason:
        return f"{trial.stage}: {trial.reason}" if trial.stage else trial.reason
    if trial.state != "complete":
        return ""
    broken = {name: by for name, by in trial.violations.items() if by > 0}
    return "; ".join(f"{name.replace('_', ' ')} {by:.3g} over" for name, by in broken.items())


def _table(names: Mapping[str, str], rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    left = ("trial", "recipe", "state", "reason", "what", "which")
    return {
        "columns": [{"title": title, "number": key not in left} for key, title in names.items()],
        "rows": [[row[key] for key in names] for row in rows],
    }
