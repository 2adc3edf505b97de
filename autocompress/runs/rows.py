"""Trials as flat rows: for a table, a file of values, or a document of the command line."""

from collections.abc import Mapping
from typing import Any

from autocompress.metrics import Metric
from autocompress.results import Estimates
from autocompress.runs.records import TrialRecord

SEARCHED = "search_"  # begins the name of what the search measured, where something else counts


def flat(found: Estimates, baseline: Estimates, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return values of all metrics of a run, by name; ``None`` where one is not known.

    Beside each ``NAME`` stand the ends of its interval, ``NAME_low`` and ``NAME_high``, and
    ``NAME_flag``, as far as they are known, and its ratio to the baseline's, if it is compared so,
    as the metric's ``ratio_name``.
    """
    row: dict[str, Any] = {}
    for name, metric in metrics.items():
        estimate = found.get(name)
        row[name] = None if estimate is None else estimate.value
        if estimate is None:
            continue
        parts = {"low": estimate.low, "high": estimate.high, "flag": estimate.flag}
        row |= {f"{name}_{part}": value for part, value in parts.items() if value is not None}
        reference = baseline.get(name)
        if metric.comparison == "ratio" and reference is not None and reference.value:
            ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
            row |= {
                f"{metric.ratio_name}{end}": value / reference.value
                for end, value in ends.items()
                if value is not None
            }
    return row


def searched(trial: TrialRecord) -> dict[str, float]:
    """Return what the search measured of a trial, where a final evaluation counts instead."""
    return {
        f"{SEARCHED}{name}": estimate.value
        for name, estimate in trial.searched.items()
        if trial.metrics[name] is not estimate
    }


def table_row(
    trial: TrialRecord,
    baseline: Estimates,
    metrics: Mapping[str, Metric],
    score: Metric,
    *,
    on_front: bool,
) -> dict[str, Any]:
    """Return one row of ``Run.table``."""
    return {
        "trial": trial.number,
        "state": trial.state,
        "on_front": on_front,
        "feasible": trial.feasible,
        **flat(trial.metrics, baseline, metrics),
        **searched(trial),
        **{f"params.{name}": value for name, value in trial.params.items()},
        "origin": trial.origin,
        "start": trial.start,
        "parent": trial.parent,
        f"predicted_{score.name}": trial.bound,
        "started": trial.started,
        "finished": trial.finished,
        "stage": trial.stage,
        "reason": trial.reason,
        "recipe": trial.in_short,
    }


def front_row(
    trial: TrialRecord, baseline: Estimates, metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """Return one member of the front, as ``autocompress front --json`` prints it."""
    return {
        "trial": trial.number,
        **flat(trial.metrics, baseline, metrics),
        **searched(trial),
        "feasible": trial.feasible,
        "recipe": dict(trial.recipe),
    }
