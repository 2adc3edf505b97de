"""Choose a model of the front, and say what keeps models off it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod

from autocompress.errors import UsageError
from autocompress.metrics import Limits, Metric
from autocompress.metrics.formatting import format_value
from autocompress.metrics.splits import deciding
from autocompress.registry import did_you_mean
from autocompress.results import Estimates
from autocompress.runs.records import TrialRecord

BALANCED = "balanced"
POINT = 0.01  # of a score that is a fraction, or of any other score's value, may be lost
Budget = Mapping[str, float]
"""By name of a metric the most that a model may have, or of one that is maximized the least."""


def pick_names(objectives: Sequence[Metric]) -> tuple[str, ...]:
    """Return the ways to pick a model: by each objective, and balanced."""
    return (*(metric.pick for metric in objectives), BALANCED)


def check_budget(budget: Budget, metrics: Mapping[str, Metric]) -> None:
    """Refuse a budget of metrics that a run does not have, or that choose nothing.

    Raises:
        UsageError: there is no such metric, or it is a score on the test split; the message names
            those that are allowed.
    """
    allowed = deciding(metrics)
    for name in budget:
        if name in metrics and name not in allowed:
            raise UsageError(
                f"budget: {name!r} is a score on test data, by which no model is chosen; allowed: "
                f"{', '.join(allowed)}"
            )
        if name not in allowed:
            raise UsageError(
                f"budget: unknown metric {name!r}{did_you_mean(name, allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )


def excesses(budget: Budget, found: Estimates, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return by how much each part of a budget is missed, as a fraction of it; empty if none is.

    A metric that is not known misses it by infinity.
    """
    missed = {}
    for name, bound in budget.items():
        sign = metrics[name].sign
        over = sign * (found[name].value - bound) if name in found else inf
        if over > 0:
            missed[name] = over / (abs(bound) or 1.0)
    return missed


@dataclass(frozen=True)
class Picker:
    """Chooses models of a front.

    Attributes:
        objectives: of the search.
        score: the task's first.
        metrics: all of the run, by name.
        baseline: what is known of it.
    """

    objectives: Sequence[Metric]
    score: Metric
    metrics: Mapping[str, Metric]
    baseline: Estimates

    def choose(self, how: str, front: Sequence[TrialRecord], budget: Budget) -> TrialRecord:
        """Return the member of a front that is best in one way among those within a budget.

        Args:
            how: a name of ``pick_names``.
            front: at least one trial.
            budget: what to leave out.

        Raises:
            UsageError: there is no such way, or no member is within the budget; the message names
                the nearest.
        """
        names = pick_names(self.objectives)
        if how not in names:
            raise UsageError(
                f"unknown pick {how!r}{did_you_mean(how, names)}; allowed: {', '.join(names)}"
            )
        check_budget(budget, self.metrics)
        within = [t for t in front if not excesses(budget, t.metrics, self.metrics)]
        if not within:
            raise UsageError(self._nearest(front, budget))
        return self.ranking(how, within)[0]

    def ranking(self, how: str, front: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Return the members of a front as one way to pick orders them, the best first.

        Within any budget, the first of them that is within it is the one that is chosen.

        Args:
            how: a name of ``pick_names``.
            front: any number of trials.
        """
        return sorted(front, key=lambda trial: self._cost(how, trial.metrics))

    def _cost(self, how: str, found: Estimates) -> tuple[float, ...]:
        """Return what the chosen model has least of."""
        score = self.score.sign * found[self.score.name].value
        if how != BALANCED:
            metric = next(metric for metric in self.objectives if metric.pick == how)
            return (metric.sign * found[metric.name].value,)
        if self.score.name not in self.baseline:
            return (score,)
        reference = self.baseline[self.score.name].value
        margin = POINT if self.score.format == "fraction" else POINT * abs(reference)
        if score > self.score.sign * reference + margin:
            return 1.0, score
        return 0.0, prod(self._share(metric, found) for metric in self.objectives), score

    def _share(self, metric: Metric, found: Estimates) -> float:
        """Return a metric as a fraction of the baseline's, or its inverse where more is better."""
        if metric == self.score or metric.name not in self.baseline:
            return 1.0
        value, reference = found[metric.name].value, self.baseline[metric.name].value
        above, below = (value, reference) if metric.sign > 0 else (reference, value)
        if below == 0:
            return 1.0 if above == 0 else inf
        return above / below

    def _nearest(self, front: Sequence[TrialRecord], budget: Budget) -> str:
        def missed(trial: TrialRecord) -> dict[str, float]:
            return excesses(budget, trial.metrics, self.metrics)

        nearest = min(front, key=lambda trial: sum(missed(trial).values()))
        shown = dict.fromkeys([*(metric.name for metric in self.objectives), *budget])
        values = ", ".join(
            f"{self.metrics[name].title} "
            f"{format_value(self.metrics[name], nearest.metrics.get(name))}"
            for name in shown
        )
        return (
            f"no model on the front is within the budget; nearest is trial {nearest.number} "
            f"(it misses {', '.join(missed(nearest))}): {values}"
        )


@dataclass(frozen=True)
class Infeasibility:
    """Why no trial is feasible.

    Attributes:
        tried: limit to the number of trials of which its metric is known.
        broken: limit to the number of trials that break it, most first.
        alone: limit to the number of complete trials that break nothing else: loosening it helps.
        nearest: the complete trial that breaks the limits least; ``None`` if none is complete.
        by: limit that it breaks to by how much.
    """

    tried: Mapping[str, int]
    broken: Mapping[str, int]
    alone: Mapping[str, int]
    nearest: TrialRecord | None
    by: Mapping[str, float]


def infeasibility_of(trials: Sequence[TrialRecord], limits: Limits) -> Infeasibility | None:
    """Return what keeps trials from being feasible; ``None`` where no limit does.

    Args:
        trials: none of them feasible.
        limits: of the study.
    """
    broken = [[name for name, by in trial.violations.items() if by > 0] for trial in trials]
    counts = Counter(name for names in broken for name in names)
    if not counts:
        return None
    tried = Counter(name for trial in trials for name in trial.violations)
    alone = Counter(
        names[0]
        for trial, names in zip(trials, broken, strict=True)
        if trial.state == "complete" and len(names) == 1
    )
    complete = [trial for trial in trials if trial.state == "complete"]
    nearest = min(complete, key=lambda trial: limits.distance(trial.violations), default=None)
    by = {} if nearest is None else {n: v for n, v in nearest.violations.items() if v > 0}
    return Infeasibility(dict(tried), dict(counts.most_common()), dict(alone), nearest, by)
