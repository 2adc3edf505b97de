"""Proposals that are not run: what contradicts itself, is there already, or has no start."""

import json
from collections.abc import Mapping
from typing import Any

from autocompress.errors import ConfigurationError, TrialError, failing_as
from autocompress.results import Estimates, Failure, TrialResult
from autocompress.runs import Run, TrialRecord
from autocompress.study.proposer import Proposal, Proposer
from autocompress.techniques.analysis import Analysis
from autocompress.trial import failed

OWN_ASKS = 4  # of the sampler in a row that may repeat a recipe, before it is asked at random
ASKS = 300  # in a row that repeat a recipe, after which a space is taken to have no others
CHANCES = 2  # how often the whole run may end while a trial runs, before that trial is why

EXHAUSTED = (
    "the search ends here: nothing new is proposed, so that every recipe of the space seems to "
    "have been tried; widen [search] in a new study"
)


class Refusals:
    """Knows the recipes of a run that are not tried again.

    Args:
        run: its trials so far are known; later ones are given to ``keep``.
        analysis: of the baseline.
    """

    def __init__(self, run: Run, analysis: Analysis) -> None:
        self.run, self.analysis = run, analysis
        self._complete: dict[str, int] = {}  # recipe, as text, to the first trial that had it
        self._tried: set[str] = set()
        for trial in run.trials():
            if trial.state != "pruned":  # by limits that may be others now
                self.keep(trial.number, trial.state, trial.recipe)

    def keep(self, number: int, state: str, recipe: Mapping[str, Any]) -> None:
        """Remember the recipe of a trial that runs or has ended."""
        self._tried.add(_text(recipe))
        if state == "complete":
            self._complete.setdefault(_text(recipe), number)

    def next(
        self, proposer: Proposer
    ) -> tuple[Proposal, Mapping[str, Any], TrialResult | None] | None:
        """Ask for a proposal until its recipe was not tried before.

        What repeats a recipe costs no trial. A sampler that does so in a row is replaced by
        random recipes.

        Returns:
            the proposal, its recipe, and why it is refused, as ``made`` says; ``None`` where
            nothing new is proposed.
        """
        repeated = 0
        while repeated < ASKS:
            proposal = proposer.ask(at_random=repeated >= OWN_ASKS)
            recipe, refusal = self.made(proposal)
            if refusal is not None or _text(recipe) not in self._tried:
                return proposal, recipe, refusal
            proposer.forget(proposal)
            repeated += proposal.name is None
        return None

    def lost(self, record: TrialRecord) -> TrialResult | None:
        """Return how a trial ends that took the whole run down too often; ``None`` for others."""
        if record.lost < CHANCES:
            return None
        reason = (
            f"the whole run was killed {record.lost} times while it ran, as where the memory is "
            "used up, or crashed: it is not tried again"
        )
        failure = Failure(stage="process", reason=reason)
        return TrialResult(state="failed", recipe=record.recipe, failure=failure)

    def made(self, proposal: Proposal) -> tuple[Mapping[str, Any], TrialResult | None]:
        """Return the recipe that a proposal makes; where there is none, why it is refused."""
        try:
            with failing_as("propose"):
                made = proposal.space.recipe(proposal.params, self.analysis)
                return made.to_dict(), None
        except TrialError as error:
            if isinstance(error.__cause__, ConfigurationError):
                return {}, _refused({}, error.reason)
            return {}, failed({}, error)  # by settings of the user's

    def of(self, recipe: Mapping[str, Any]) -> TrialResult | None:
        """Return how a trial ends that is not worth running; ``None`` where it is."""
        same, start = self._complete.get(_text(recipe)), recipe.get("start")
        if same is not None:
            found = self.run.trial(same).searched
            return _refused(recipe, f"the same recipe as trial {same}", found)
        if start is not None and self.start_of(recipe) is None:
            return _refused(recipe, f"recipe.start: trial {start} has no model to start from")
        return None

    def start_of(self, recipe: Mapping[str, Any]) -> TrialRecord | None:
        """Return the trial that a recipe starts from, if it has a model."""
        start = recipe.get("start")
        if start is None:
            return None
        found = (trial for trial in self.run.trials() if trial.number == start and trial.folder)
        return next(found, None)


def _text(recipe: Mapping[str, Any]) -> str:
    return json.dumps(recipe, sort_keys=True)


def _refused(
    recipe: Mapping[str, Any], reason: str, metrics: Estimates | None = None
) -> TrialResult:
    failure = Failure(stage="estimate", reason=reason)
    return TrialResult(state="pruned", recipe=recipe, metrics=metrics or {}, failure=failure)
