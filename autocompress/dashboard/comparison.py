"""The search beside its controls: what chance finds in the same time, what pruning is worth."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autocompress.artifacts import read_json
from autocompress.figures.hypervolume import dominated_volume
from autocompress.figures.studies import ACCURACY_FLOOR
from autocompress.study.records import CONTROLS, RUN_FILE, SCRATCH_FILE, Run
from autocompress.wording import percent, ratio

Data = Mapping[str, Any]
COLUMNS = ("", "trials", "covered volume", "accuracy", "latency", "parameters")
_RUNS = {
    "random": "random recipes, in the same time",
    "random_criterion": "the front's recipes, units chosen at random",
}


def comparison(run: Run) -> list[list[str]]:
    """Return rows of texts under ``COLUMNS``; empty where no controls were run.

    Accuracy, latency and parameters are those of the balanced pick, the latter two as fractions
    of the baseline's. The covered volume is that of ``figures.history``.
    """
    home = run.path / CONTROLS
    rows = [
        _row(told, Run.open(home / name), run.baseline)
        for name, told in _RUNS.items()
        if (home / name / RUN_FILE).exists()
    ]
    if (home / SCRATCH_FILE).exists():
        rows += _scratch_rows(run, read_json(home / SCRATCH_FILE))
    return [_row("this search", run, run.baseline), *rows] if rows else []


def _row(told: str, run: Run, baseline: Data) -> list[str]:
    front = run.front()
    trials = str(sum(trial.counts for trial in run.trials()))
    if not front:
        return [told, trials, "0", "", "", ""]
    floor = ACCURACY_FLOOR * baseline["accuracy"]
    points = [
        [
            (1 - trial.metrics["accuracy"]) / (1 - floor),
            trial.metrics["latency_ratio"],
            trial.metrics["parameter_ratio"],
        ]
        for trial in front
    ]
    volume = dominated_volume(np.array(points, dtype=np.float64))
    return [told, trials, f"{volume:.3f}", *_numbers(run.pick("balanced").metrics)]


def _scratch_rows(run: Run, scratch: Data) -> Iterator[list[str]]:
    number = scratch["trial"]
    yield [f"trial {number}, pruned", "", "", *_numbers(run.trial(number).metrics)]
    told = f"trial {number}'s architecture from scratch, in the same time"
    yield [told, "", "", *_numbers(scratch["metrics"])]


def _numbers(metrics: Data) -> list[str]:
    shares = (ratio(metrics["latency_ratio"]), ratio(metrics["parameter_ratio"]))
    return [percent(metrics["accuracy"]), *shares]
