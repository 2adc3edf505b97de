"""Proposes recipes: Optuna's study of a run, in memory, rebuilt from the journal in each session.

This file and ``samplers.py`` are the home of Optuna. One process asks and tells; what runs the
trials knows nothing of it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from autocompress.metrics import Estimate, Metric
from autocompress.metrics.limits import Limits
from autocompress.results import Estimates
from autocompress.runs.records import TrialRecord
from autocompress.samplers import PARENT, SAMPLERS, UNFINISHED, wants_flat
from autocompress.space.space import Space


@dataclass(frozen=True)
class Proposal:
    """What the sampler proposes.

    Attributes:
        trial: Optuna's, which waits for an answer.
        params: values of all search parameters.
        space: the space that makes a recipe of them.
        flat: whether the sampler needs values of every trial, also of those that were pruned.
        name: of an initial recipe.
    """

    trial: optuna.Trial
    params: Mapping[str, Any]
    space: Space
    flat: bool
    name: str | None


class Proposer:
    """Asks the sampler for recipes, and tells it their results.

    Args:
        space: all recipes that may be proposed.
        objectives: what is improved.
        limits: what a candidate must keep to.
        baseline: what the baseline is worth.
        score: name of the task's first score, which a trial that is stopped early may still reach.
        sampler: a name of ``SAMPLERS``.
        seed: of the sampler.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Metric],
        limits: Limits,
        baseline: Estimates,
        *,
        score: str,
        sampler: str,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # events say what there is to say
        self.space, self.objectives = space, tuple(objectives)
        self.limits, self.baseline, self.score = limits, baseline, score
        self.fidelity = 1.0
        self._next: deque[tuple[Mapping[str, Any], str | None]] = deque()
        directions = [metric.direction for metric in objectives]
        self.study = optuna.create_study(directions=directions)
        self.study.sampler = SAMPLERS[sampler](seed)
        self._random = SAMPLERS["random"](seed)

    def restore(self, trials: Sequence[TrialRecord]) -> None:
        """Take in the trials of earlier sessions, in the order of their numbers."""
        for trial in trials:
            if trial.state in ("complete", "pruned", "failed"):
                self.add(trial)

    def add(self, trial: TrialRecord) -> None:
        """Take in a trial that was not proposed in this session, such as a derived one."""
        sampled = self._sampled(trial.params)
        if sampled is None:
            return  # the space cannot express it; the sampler does without
        params, distributions = sampled
        finished = trial.state == "complete"
        imputed = trial.state == "pruned" and wants_flat(self.study)
        state = TrialState.FAIL if trial.state == "failed" else TrialState.PRUNED
        values = None
        if finished or imputed:
            state = TrialState.COMPLETE
            values = self._values(trial)
        frozen = create_trial(
            state=state,
            values=values,
            params=params,
            distributions=distributions,
            constraints={} if trial.state == "failed" else self._constraints(trial),
            user_attrs={} if trial.parent is None else {PARENT: trial.parent},
        )
        _set_times(frozen, trial.started, trial.finished)
        self.study.add_trial(frozen)

    def enqueue(self, params: Mapping[str, Any], name: str | None = None) -> None:
        """Propose these parameters next, after what was enqueued before."""
        self._next.append((params, name))

    def ask(self, *, at_random: bool = False) -> Proposal:
        """Return the next proposal: what was enqueued, then what the sampler proposes.

        Args:
            at_random: draw what the sampler would propose from the whole space instead.
        """
        name = None
        if self._next:
            params, name = self._next.popleft()
            self.study.enqueue_trial(dict(params))
        flat, sampler = wants_flat(self.study), self.study.sampler
        space = self.space.at_fidelity(self.fidelity, conditional=not flat)
        self.study.sampler = self._random if at_random else sampler
        try:
            trial = self.study.ask()
            params = space.sample(trial)
        finally:
            self.study.sampler = sampler
        return Proposal(trial, params, space, flat, name)

    def ask_again(self, record: TrialRecord) -> Proposal:
        """Return the proposal of a trial that was interrupted, before all that is enqueued."""
        self._next.appendleft((record.params, record.name))
        return replace(self.ask(), params=record.params)

    def tell(self, proposal: Proposal, trial: TrialRecord) -> None:
        """Tell the sampler how a proposal ended.

        A sampler that ignores trials without values would propose a pruned one again. It receives
        the best that the trial could still reach: its score in the middle of training would look
        like that of a recipe that ruins the model. What is not known is the baseline's.
        """
        if trial.state == "failed":
            self.study.tell(proposal.trial, state=TrialState.FAIL)
            return
        for name, by in self._constraints(trial).items():
            proposal.trial.set_constraint(name, by)
        if trial.state == "complete" or proposal.flat:
            self.study.tell(proposal.trial, self._values(trial))
        else:
            self.study.tell(proposal.trial, state=TrialState.PRUNED)

    def forget(self, proposal: Proposal) -> None:
        """Give up a proposal that was interrupted."""
        self.study.tell(proposal.trial, state=TrialState.FAIL)

    def _at_best(self, trial: TrialRecord) -> Estimates:
        """Return what is known of a trial, with the score that it could still reach."""
        if trial.bound is None:
            return trial.searched
        return {**trial.searched, self.score: Estimate(value=trial.bound)}

    def _values(self, trial: TrialRecord) -> list[float]:
        known = {**self.baseline, **self._at_best(trial)}
        return [known[metric.name].value for metric in self.objectives]

    def _constraints(self, trial: TrialRecord) -> dict[str, float]:
        broken = self.limits.constraints(self._at_best(trial), self.baseline)
        return {**broken, UNFINISHED: -1.0 if trial.state == "complete" else 1.0}

    def _sampled(
        self, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, BaseDistribution]] | None:
        """Return which of these parameters the space samples, each moved into the space."""
        nearest = self.space.nearest(params)
        if nearest is None:
            return None
        fixed = FixedTrial(nearest)
        self.space.at_fidelity(1.0, conditional=not wants_flat(self.study)).sample(fixed)
        return dict(fixed.params), dict(fixed.distributions)


def _set_times(trial: FrozenTrial, started: datetime | None, finished: datetime | None) -> None:
    """Give a trial its times, naive as Optuna's: what trials cost decides who proposes."""
    if started is not None and finished is not None:
        trial.datetime_start = started.astimezone().replace(tzinfo=None)
        trial.datetime_complete = finished.astimezone().replace(tzinfo=None)
