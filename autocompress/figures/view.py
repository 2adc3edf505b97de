"""What figures and tables draw: a run as it was at one moment, with all that describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from autocompress.metrics import Metric
from autocompress.results import Estimates

if TYPE_CHECKING:
    from autocompress.runs import Run, TrialRecord

KINDS = ("front", "dominated", "infeasible", "stopped")  # what is drawn, in this order of worth


@dataclass(frozen=True, kw_only=True)
class View:
    """A run at one moment. Figures take a ``Run`` and look at it through this.

    Attributes:
        trials: all of them, by their numbers.
        front: numbers of the trials on the front, in its order.
        baseline: what was measured of it; empty until then.
        objectives: metrics that the search improves, 1 to 5.
        score: the task's first score.
        metrics: every metric of the run, by name.
        bounds: by name of a metric, the most (or, of one that is maximized, the least) that the
            limits of the study allow.
    """

    trials: "tuple[TrialRecord, ...]"
    front: tuple[int, ...]
    baseline: Estimates
    objectives: tuple[Metric, ...]
    score: Metric
    metrics: Mapping[str, Metric]
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """For each trial one of ``KINDS``, or an empty text for what is not drawn."""
        front = set(self.front)
        return [kind_of(trial, front) for trial in self.trials]

    @property
    def front_trials(self) -> "list[TrialRecord]":
        """The trials on the front, in its order."""
        by_number = {trial.number: trial for trial in self.trials}
        return [by_number[number] for number in self.front]

    @property
    def complete(self) -> "list[TrialRecord]":
        """Trials of which every objective is known."""
        names = [metric.name for metric in self.objectives]
        return [
            trial
            for trial in self.trials
            if trial.state == "complete" and all(name in trial.metrics for name in names)
        ]


Shown = Union["Run", View]


def view_of(run: Shown) -> View:
    """Return a run as it is now; a view as it is."""
    if isinstance(run, View):
        return run
    return View(
        trials=tuple(run.trials()),
        front=tuple(trial.number for trial in run.front()),
        baseline=run.baseline,
        objectives=run.objectives,
        score=run.score,
        metrics=run.metrics,
        bounds=run.limits.bounds(run.baseline),
    )


def kind_of(trial: "TrialRecord", front: set[int]) -> str:
    """Return one of ``KINDS``, or an empty text for a trial that is not drawn.

    ``stopped`` are trials that early stopping ended: they are drawn at the best score that they
    could still have reached, at the latency and size of their estimate.
    """
    if trial.state == "complete":
        if not trial.feasible:
            return "infeasible"
        return "front" if trial.number in front else "dominated"
    stopped = trial.failure is not None and trial.failure.bound is not None
    return "stopped" if trial.state == "pruned" and stopped else ""


def default_axes(view: View) -> tuple[Metric, Metric, Metric | None]:
    """Return what a chart shows across, upwards and by colour.

    These are the first three objectives; of the first two, the one that is maximized goes up.
    Beside a single objective stands another metric of the run.
    """
    others = [m for m in view.metrics.values() if m not in view.objectives and _is_known(view, m)]
    up, across = [*view.objectives, *others, view.score][:2]
    if up.direction == "minimize" and across.direction == "maximize":
        up, across = across, up
    return across, up, view.objectives[2] if len(view.objectives) > 2 else None


def _is_known(view: View, metric: Metric) -> bool:
    return metric.name in view.baseline or any(metric.name in t.metrics for t in view.trials)
