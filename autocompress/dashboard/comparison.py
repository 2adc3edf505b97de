"""The search beside its controls: what chance finds in the same time, what pruning is worth."""

from collections.abc import Iterator
from dataclasses import dataclass

from autocompress.figures.volume import covered_volume
from autocompress.results import Estimates
from autocompress.runs import Run, layout
from autocompress.runs.stored import FromScratch

_RUNS = {
    "random": "random recipes, in the same time",
    "random_criterion": "the front's recipes, units chosen at random",
}


@dataclass(frozen=True, kw_only=True)
class Controls:
    """One row of the comparison.

    Attributes:
        text: what it is.
        trials: how many ended; ``None`` where it is a single model.
        volume: that its front covers, as in ``figures.history``, in [0, 1].
        metrics: of its balanced pick, or of the single model; empty where there is none.
        baseline: what these are set beside.
    """

    text: str
    trials: int | None = None
    volume: float | None = None
    metrics: Estimates
    baseline: Estimates


def comparison(run: Run) -> list[Controls]:
    """Return the search and its controls; empty where none were run."""
    home = run.path / layout.CONTROLS
    rows = [
        _of_run(text, Run.open(home / name), run)
        for name, text in _RUNS.items()
        if (home / name / layout.HEADER).exists()
    ]
    if (home / layout.SCRATCH).exists():
        rows += _of_scratch(run, FromScratch.read(home / layout.SCRATCH))
    return [_of_run("this search", run, run), *rows] if rows else []


def _of_run(text: str, run: Run, search: Run) -> Controls:
    front = run.front()
    return Controls(
        text=text,
        trials=sum(trial.counts for trial in run.trials()),
        volume=covered_volume([t.metrics for t in front], search.baseline, search.objectives),
        metrics=run.pick("balanced").metrics if front else {},
        baseline=search.baseline,
    )


def _of_scratch(run: Run, scratch: FromScratch) -> Iterator[Controls]:
    number = scratch.trial
    yield Controls(
        text=f"trial {number}, pruned", metrics=run.trial(number).metrics, baseline=run.baseline
    )
    yield Controls(
        text=f"trial {number}'s architecture from scratch, in the same time",
        metrics={name: found for name, found in scratch.metrics.items() if name in run.metrics},
        baseline=run.baseline,
    )
