"""Pareto-aware early stopping: can a running trial still enter the feasible front?

The most that a trial may end with is predicted from the complete trials of the same study: which
share of the errors that a candidate makes at this point of its training is left at the end. Where
even that score, at the estimated latency and number of parameters, is dominated by a feasible
complete trial, or breaks the limit on score, the rest of the training is wasted.

Scores may fall while masks grow and come back in recovery, so the share is always taken at
the same point: the same stage, and the same share of its epochs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from autocompress.errors import ConfigurationError

Curve = Mapping[str, Sequence[float]]  # stage to scores, in the order in which they ran
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """When a running trial is stopped.

    Attributes:
        min_trials: complete trials that must have reached the point of the decision, at least 3.
        confidence: probability, in (0.5, 1), that the score at the end is below the bound,
            were the logarithms of the shares of errors left normally distributed.
        latency_margin: fraction by which the latency may come out below the estimate's, in [0, 1):
            noise of either measurement.

    Raises:
        ConfigurationError: a value is outside its range.
    """

    min_trials: int = 8
    confidence: float = 0.999
    latency_margin: float = 0.1

    def __post_init__(self) -> None:
        allowed = {
            "min_trials must be at least 3": self.min_trials >= 3,
            "confidence must be above 0.5 and below 1": 0.5 < self.confidence < 1,
            "latency_margin must be at least 0 and below 1": 0 <= self.latency_margin < 1,
        }
        problems = [rule for rule, kept in allowed.items() if not kept]
        if problems:
            raise ConfigurationError(f"{rule}: {self}" for rule in problems)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A complete trial.

    Attributes:
        number: of the trial.
        curve: score after each epoch, by stage.
        score: what was measured at the end, in [0, 1].
        costs: the other objectives, as numbers of which less is better, by the metric's name.
        feasible: whether it keeps all limits.
    """

    number: int
    curve: Curve
    score: float
    costs: Mapping[str, float]
    feasible: bool


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial whose training has not ended.

    Attributes:
        curve: score after each epoch so far, by stage; the last stage may be incomplete.
        planned: epochs of every stage that trains, in order; stages of 0 epochs do not count.
        costs: the other objectives as far as they are known, as numbers of which less is better;
            where one is missing, nothing is known to dominate the trial. Sizes that an estimate
            has are exact with a local scope; with a global one an estimate may have several
            times those of the trained candidate (3.6 times was seen), and they are not known.
        measured: names of the costs that were measured, with noise.
    """

    curve: Curve
    planned: Mapping[str, int]
    costs: Mapping[str, float]
    measured: frozenset[str] = frozenset({"latency_ms"})


@dataclass(frozen=True)
class Decision:
    """What was decided after an epoch.

    Attributes:
        stop: whether the trial can no longer enter the feasible front.
        epoch: epochs trained so far, over all stages.
        bound: the highest score that it may still reach, in [0, 1]; 1 if too little is known.
        dominated_by: number of the complete trial that dominates it even then.
        reason: one sentence.
    """

    stop: bool
    epoch: int
    bound: float
    dominated_by: int | None
    reason: str


def by_stage(points: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    """Return a curve from (stage, score) of one epoch after the other."""
    curve: dict[str, list[float]] = {}
    for stage, score in points:
        curve.setdefault(stage, []).append(score)
    return curve


def decide(
    running: Running,
    finished: Sequence[Completed],
    *,
    items: int,
    lowest_score: float | None = None,
    settings: EarlyStopping | None = None,
) -> Decision:
    """Decide after an epoch whether a trial can still enter the feasible front.

    A trial that has trained to its end is never stopped: it only needs to be measured.

    Args:
        running: the trial, with at least one epoch.
        finished: the complete trials of the same study.
        items: number of items that scores are measured on, at least 1.
        lowest_score: the limit on the score, in [0, 1]; ``None`` is no limit.
        settings: how sure it must be.
    """
    settings = settings or EarlyStopping()
    epoch = sum(len(scores) for scores in running.curve.values())
    planned = sum(running.planned.values())

    def go_on(bound: float, reason: str) -> Decision:
        reason = f"{reason} after epoch {epoch} of {planned}"
        return Decision(stop=False, epoch=epoch, bound=bound, dominated_by=None, reason=reason)

    if epoch >= planned:
        return go_on(1.0, "trained to its end")
    shares = errors_left(running, finished, items)
    if len(shares) < settings.min_trials:
        return go_on(
            1.0, f"{len(shares)} of {settings.min_trials} complete trials to compare with"
        )
    errors = 1 - _last(running.curve)
    bound = optimistic_score(errors, shares, items, settings.confidence)
    predicted = f"after epoch {epoch} of {planned} it may reach {bound:.4f} at most"
    if lowest_score is not None and bound < lowest_score - _ROUNDING:
        reason = f"{predicted}, below the limit of {lowest_score:.4f}"
        return Decision(stop=True, epoch=epoch, bound=bound, dominated_by=None, reason=reason)
    better = _dominator(running, finished, bound, settings.latency_margin)
    if better is not None:
        reason = (
            f"{predicted}, and trial {better.number} has {better.score:.4f} "
            f"with no more {' and '.join(name.replace('_', ' ') for name in running.costs)}"
        )
        return Decision(
            stop=True, epoch=epoch, bound=bound, dominated_by=better.number, reason=reason
        )
    return go_on(bound, f"it may reach {bound:.4f} and enter the front")


def errors_left(running: Running, finished: Iterable[Completed], items: int) -> list[float]:
    """Return final errors / errors then, of each trial that has reached the running one's point.

    Those are the trials with the same stages, each seen from its last epoch that is not later, as
    a share of its stage's epochs, than the running one's: with fewer epochs to the end the share
    would be too high. Half an item is added to all errors, for there may be none. Shares predict
    better than differences, which shrink as score nears 1.
    """
    stages = [stage for stage, epochs in running.planned.items() if epochs]
    now = _positions(running.curve, running.planned)[-1]
    half = 0.5 / items
    shares = []
    for trial in finished:
        curve = {stage: scores for stage, scores in trial.curve.items() if scores}
        if list(curve) != stages:
            continue
        positions = _positions(curve, {stage: len(curve[stage]) for stage in curve})
        known = sum(position <= now + _ROUNDING for position in positions)
        if known:
            then = [score for stage in stages for score in curve[stage]][known - 1]
            shares.append((1 - trial.score + half) / (1 - then + half))
    return shares


def optimistic_score(
    errors: float, shares: Sequence[float], items: int, confidence: float
) -> float:
    """Return the highest score that a trial may end with, in [0, 1].

    The lowest share of errors left that was seen so far is undercut by the next of n trials with
    probability 1 / (n + 1), too often while n is small. So the share is the lower of that and of
    the one-sided prediction bound of the logarithms, mean - t * sd * sqrt(1 + 1 / n) with
    Student's t of n - 1 degrees of freedom (Hahn and Meeker, Statistical Intervals, 1991), and at
    most 1.

    Args:
        errors: the trial's share of wrong answers now, in [0, 1].
        shares: errors left at the end, of at least two other trials, above 0.
        items: number of items that scores are measured on.
        confidence: of the prediction bound, in (0.5, 1).
    """
    logs = np.log(np.asarray(shares, dtype=np.float64))
    spread = float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(logs))
    predicted = float(logs.mean()) - float(stdtrit(len(logs) - 1, confidence)) * spread
    share = math.exp(min(0.0, predicted, float(logs.min())))
    half = 0.5 / items
    return min(1.0, 1 - ((errors + half) * share - half))


def _dominator(
    running: Running, finished: Iterable[Completed], bound: float, margin: float
) -> Completed | None:
    """Return the best feasible trial that is better than the running one at its best.

    Measured costs must be less by the margin, exact ones no more.
    """
    if not running.costs:
        return None

    def cheaper(trial: Completed) -> bool:
        if not trial.costs.keys() <= running.costs.keys():
            return False
        return all(
            cost < _lowered(running.costs[name], margin)
            if name in running.measured
            else cost <= running.costs[name]
            for name, cost in trial.costs.items()
        )

    better = [t for t in finished if t.feasible and t.score >= bound and cheaper(t)]
    return max(better, key=lambda trial: trial.score, default=None)


def _lowered(cost: float, margin: float) -> float:
    """Return a cost that is better by a margin, whatever its sign."""
    return cost - margin * abs(cost)


def _positions(curve: Curve, planned: Mapping[str, int]) -> list[float]:
    """Return the place of every epoch: the index of its stage plus the share of its epochs.

    A stage begins at its index, counted from 0, and ends at its index + 1.
    """
    stages = [stage for stage, epochs in planned.items() if epochs]
    return [
        index + (epoch + 1) / planned[stage]
        for index, stage in enumerate(stages)
        for epoch in range(len(curve.get(stage, ())))
    ]


def _last(curve: Curve) -> float:
    return [score for scores in curve.values() for score in scores][-1]
