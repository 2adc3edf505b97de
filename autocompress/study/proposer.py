"""Proposes recipes: Optuna's study of a run, in memory, rebuilt from the journal in each session.

This file and ``samplers.py`` are the home of Optuna. One process asks and tells; whoever runs the
trials knows nothing of it.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from autocompress.metrics import Metric
from autocompress.metrics.limits import Limits
from autocompress.results import Estimates
from autocompress.runs.records import TrialRecord
from autocompress.samplers import PARENT, SAMPLERS, UNFINISHED, wants_flat
from autocompress.space.space import Space

Values = Mapping[str, float]


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
    """Asks the sampler for recipes, and tells it what became of them.

    Args:
        space: all recipes that may be proposed.
        objectives: what is improved.
        limits: what a candidate must keep to.
        baseline: what the baseline is worth.
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
        sampler: str,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # events say what there is to say
        self.space, self.objectives = space, tuple(objectives)
        self.limits, self.baseline = limits, baseline
        self.fidelity = 1.0
        directions = [metric.direction for metric in objectives]
        self.study = optuna.create_study(directions=directions)
        self.study.sampler = SAMPLERS[sampler](seed)

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
            values = self._values(trial.searched, trial.bound if imputed else None)
        frozen = create_trial(
            state=state,
            values=values,
            params=params,
            distributions=distributions,
            constraints=self._constraints(trial.searched, finished=finished),
            user_attrs={} if trial.parent is None else {PARENT: trial.parent},
        )
        _set_times(frozen, trial.started, trial.finished)
        self.study.add_trial(frozen)

    def enqueue(self, params: Mapping[str, Any], name: str | None = None) -> None:
        """Propose these parameters next, after what was enqueued before."""
        self.study.enqueue_trial(dict(params), user_attrs={} if name is None else {"name": name})

    def ask(self) -> Proposal:
        """Return the next proposal."""
        flat = wants_flat(self.study)
        trial = self.study.ask()
        space = self.space.at_fidelity(self.fidelity, conditional=not flat)
        with warnings.catch_warnings():  # an enqueued value that has no effect is left out
            warnings.simplefilter("ignore", UserWarning)
            params = space.sample(trial)
        return Proposal(trial, params, space, flat, trial.user_attrs.get("name"))

    def tell(self, proposal: Proposal, trial: TrialRecord) -> None:
        """Tell the sampler how a proposal ended.

        A sampler that ignores trials without values would propose a pruned one again. It is told
        the best that the trial could still reach: its score in the middle of training would look
        like that of a recipe that ruins the model. What is not known is the baseline's.
        """
        if trial.state == "failed":
            self.study.tell(proposal.trial, state=TrialState.FAIL)
            return
        complete = trial.state == "complete"
        known = trial.searched
        for name, by in self._constraints(known, finished=complete).items():
            proposal.trial.set_constraint(name, by)
        if complete or proposal.flat:
            bound = None if complete else trial.bound
            self.study.tell(proposal.trial, self._values(known, bound))
        else:
            self.study.tell(proposal.trial, state=TrialState.PRUNED)

    def forget(self, proposal: Proposal) -> None:
        """Give up a proposal that was interrupted."""
        self.study.tell(proposal.trial, state=TrialState.FAIL)

    def _values(self, known: Estimates, bound: float | None) -> list[float]:
        values = {**self.baseline, **known}
        found = [values[metric.name].value for metric in self.objectives]
        if bound is not None:
            found[0] = bound
        return found

    def _constraints(self, known: Estimates, *, finished: bool) -> dict[str, float]:
        broken = self.limits.constraints(known, self.baseline)
        return {**broken, UNFINISHED: -1.0 if finished else 1.0}

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
