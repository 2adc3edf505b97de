"""The front in a terminal: first what identifies a model, then what decides between models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autocompress.cli.tables import Column
from autocompress.metrics.formatting import (
    format_change,
    format_interval,
    format_value,
    short_title,
)
from autocompress.metrics.splits import name_on_test
from autocompress.results import Estimates

if TYPE_CHECKING:
    from autocompress.metrics import Metric
    from autocompress.runs import Run, TrialRecord

# What is left out first where a terminal is narrow.
_RECIPE, _INTERVAL, _RATIO, _PICK, _TEST = 5, 4, 3, 2, 1


def front_columns(run: "Run", front: "Sequence[TrialRecord]") -> list[Column]:
    """Return the baseline and models of a front, a line each.

    Args:
        run: of which they are.
        front: some of its trials.
    """
    baseline = [run.baseline] if run.baseline else []
    found = [*baseline, *(trial.metrics for trial in front)]
    names = ["baseline"] * len(baseline) + [str(trial.number) for trial in front]
    columns = [Column(title="trial", cells=names)]
    for metric in run.objectives:
        columns += _of_metric(run, metric, found)
    picks = _picks(run)
    picked = [""] * len(baseline) + [", ".join(picks.get(t.number, ())) for t in front]
    recipes = [""] * len(baseline) + [trial.in_short for trial in front]
    return [
        *columns,
        *([Column(title="pick", cells=picked, rank=_PICK)] if any(picked) else []),
        Column(title="recipe", cells=recipes, rank=_RECIPE, cut=True),
    ]


def _of_metric(run: "Run", metric: "Metric", found: Sequence[Estimates]) -> Iterator[Column]:
    """Yield a metric, its test score, and its ratio to the baseline with its interval."""
    estimates = [metrics.get(metric.name) for metrics in found]
    values = [format_value(metric, estimate) for estimate in estimates]
    yield Column(title=short_title(metric), cells=values)
    test = run.metrics.get(name_on_test(metric))
    if test is not None and any(test.name in metrics for metrics in found):
        values = [format_value(test, metrics.get(test.name)) for metrics in found]
        yield Column(title="test", cells=values, rank=_TEST)
    baseline = run.baseline.get(metric.name)
    if metric.comparison == "ratio" and baseline is not None:
        ratios = [format_change(metric, estimate, baseline) for estimate in estimates]
        yield Column(title="ratio", cells=ratios, rank=_RATIO)
        whole = [format_interval(metric, estimate, baseline) for estimate in estimates]
        intervals = [text.partition(" (")[2].removesuffix(")") for text in whole]
        if any(intervals):
            yield Column(title="95 %", cells=intervals, rank=_INTERVAL)


def _picks(run: "Run") -> Mapping[int, list[str]]:
    picks: dict[int, list[str]] = {}
    for how, trial in run.picks().items():
        picks.setdefault(trial.number, []).append(how)
    return picks


def flag_lines(run: "Run", front: "Sequence[TrialRecord]") -> Iterator[str]:
    """Yield which numbers of a front should be read with care, and why."""
    for trial in front:
        for metric in run.objectives:
            flag = trial.metrics[metric.name].flag
            if flag:
                name = short_title(metric)
                yield f"read the {name} of trial {trial.number} with care: {flag}"
