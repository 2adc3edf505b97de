"""The search: ask for a recipe, submit it, tell its result; one process, one journal."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocompress.callbacks.early_stopping import is_predictable
from autocompress.context import Context
from autocompress.errors import AutocompressError, DiskFullError
from autocompress.events import Message, Progress, TrialDone
from autocompress.execution import Done, Executor, Job
from autocompress.recipe import Recipe
from autocompress.results import Rival, TrialResult
from autocompress.runs import Run, TrialRecord
from autocompress.runs.journal import Ended, Journal, Proposed, Session, now
from autocompress.study.budget import Budget, trial_limit_s
from autocompress.study.proposer import Proposal, Proposer
from autocompress.study.refusals import EXHAUSTED, Refusals
from autocompress.trial import TRAINING_STAGES

POLL_S = 0.5
SETTLED = 8  # complete trials, before early stopping has something to compare with
PAYS_S = 20.0  # of training per trial, from which an estimate with its latency pays
NOT_PREDICTABLE = (
    "no trial is stopped early: what is predicted are shares of errors, and the first score of "
    "this task ({}) is no fraction that is maximized (study.early_stopping = false leaves this "
    "line out)"
)


@dataclass(frozen=True)
class _Submitted:
    """A trial that runs: who proposed it, and the job."""

    proposal: Proposal
    job: Job


class SearchLoop:
    """Runs the trials of one session.

    Args:
        context: what all trials share.
        proposer: proposes recipes.
        executor: runs them; started.
        journal: where everything is written first.
        budget: how many trials, how long.
        progress: receives an event for every trial that ended.
    """

    def __init__(
        self,
        context: Context,
        proposer: Proposer,
        executor: Executor,
        journal: Journal,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self.context, self.proposer, self.executor = context, proposer, executor
        self.journal, self.budget, self.progress = journal, budget, progress
        self.run = Run.open(context.folder)
        trials = self.run.trials()
        self.waiting = [trial for trial in trials if trial.state in ("waiting", "running")]
        self.refusals = Refusals(self.run, context.analysis)
        self.next_number = len(trials)
        self.done = sum(trial.counts for trial in trials)
        self.running: dict[int, _Submitted] = {}
        self.exhausted = False
        self.derive_s = 0.0
        self.predictable = is_predictable(context.problem.task.score)
        given = context.problem.config.search.paths
        searched = {"training.epochs", "training.recovery_epochs"} <= given
        self.may_shorten = not searched and proposer.fidelity == 1  # else an earlier session did

    def search(self) -> None:
        """Run trials until there are enough or the time is up.

        Raises:
            KeyboardInterrupt: somebody asked to stop; what ran then waits for the next session.
            AutocompressError: a trial broke the device of the executor; that trial failed.
            DiskFullError: a trial could not be stored; it waits.
        """
        if self.context.problem.config.study.early_stopping and not self.predictable:
            self.progress(Message(NOT_PREDICTABLE.format(self.context.problem.task.score.title)))
        try:
            while True:
                while self._wants_more():
                    self._submit()
                if not self.running:
                    return
                ended = self.executor.wait(POLL_S)
                for done in ended:
                    self._end(done)
                self._end_session(ended)
        finally:
            self._interrupt()

    def _wants_more(self) -> bool:
        free = len(self.running) < self.executor.capacity and not self.exhausted
        left = self.done + len(self.running) < self.budget.trials
        return free and left and self.budget.left_s != 0

    def _submit(self) -> None:
        """Begin the next trial: one that was interrupted, or a new proposal."""
        if self.waiting:
            record = self.waiting.pop(0)
            proposal, number = self.proposer.ask_again(record), record.number
            recipe, refusal = record.recipe, self.refusals.lost(record)
            if not recipe:  # its refusal was interrupted
                recipe, refusal = self.refusals.made(proposal)
        else:
            found, number = self.refusals.next(self.proposer), self.next_number
            if found is None:
                self.exhausted = True
                self.progress(Message(EXHAUSTED))
                return
            proposal, recipe, refusal = found
            self.next_number += 1
        refusal = refusal or self.refusals.of(recipe)
        self._begin(number, proposal, recipe)
        if refusal is None:
            self._run(number, proposal, recipe)
        else:
            self._refuse(number, proposal, refusal)

    def _begin(self, number: int, proposal: Proposal, recipe: Mapping[str, Any]) -> None:
        """Note that a trial begins, for the first time or again."""
        proposed = Proposed(
            number=number,
            time=now(),
            params=dict(proposal.params),
            recipe=recipe,
            origin="sampler" if proposal.name is None else "initial",
            start=recipe.get("start"),
            name=proposal.name,
        )
        self.journal.append(proposed)
        self.refusals.keep(number, "running", recipe)

    def _refuse(self, number: int, proposal: Proposal, result: TrialResult) -> None:
        """End a proposal that is not run."""
        self._record(number, result)
        self.proposer.tell(proposal, self.run.trial(number))
        self.done += 1
        self._report(number)

    def _run(self, number: int, proposal: Proposal, recipe: Mapping[str, Any]) -> None:
        options, start = self.context.problem.config.study, self.refusals.start_of(recipe)
        trials = self.run.trials()
        job = Job(
            number=number,
            recipe=recipe,
            start_folder=None if start is None or start.folder is None else start.folder.name,
            start_sha256=None if start is None else start.sha256,
            rivals=tuple(self._rival(trial) for trial in trials if trial.state == "complete"),
            stop_early=options.early_stopping and self.predictable and _stopping_pays(trials),
            estimate=proposal.flat,
            derive=options.derive,
            derive_s=self.derive_s,
            memory_gb=options.trial_memory_gb,
            limit_s=trial_limit_s(options.trial_timeout_s, _costs(trials), self.executor.capacity),
        )
        self.derive_s = 0.0
        self.running[number] = _Submitted(proposal, job)
        self.executor.submit(job)

    def _rival(self, trial: TrialRecord) -> Rival:
        score = self.context.problem.task.score.name
        return Rival(
            number=trial.number,
            score=trial.searched[score].value,
            values={m.name: trial.searched[m.name].value for m in self.context.objectives},
            feasible=trial.feasible,
            curve=tuple(trial.curve) if trial.parent is None else (),
        )

    def _end(self, done: Done) -> None:
        """Write how a trial ended, tell the sampler, and add what was derived from it."""
        submitted = self.running.pop(done.number)
        self.derive_s += done.derive_s
        if done.result.state == "interrupted":
            self._record(done.number, done.result)
            self.proposer.forget(submitted.proposal)
            return
        self._record(done.number, replace(done.result, derived=()), started=done.started)
        parent = self.run.trial(done.number)
        self.proposer.tell(submitted.proposal, parent)
        self.done += 1
        self._report(done.number)
        for result in done.result.derived:
            number = self.next_number
            self.next_number += 1
            params = submitted.proposal.space.derived(
                submitted.proposal.params, Recipe.from_dict(result.recipe), result.fraction
            )
            self._record(number, result, parent=done.number, params=params)
            self.proposer.add(self.run.trial(number))
            self._report(number)
        self._shorten()

    def _record(
        self,
        number: int,
        result: TrialResult,
        *,
        parent: int | None = None,
        params: Mapping[str, Any] | None = None,
        started: str | None = None,
    ) -> None:
        ended = Ended(
            number=number,
            time=now(),
            result=result,
            parent=parent,
            params=params or {},
            started=started,
        )
        self.journal.append(ended)
        self.refusals.keep(number, result.state, result.recipe)

    def _end_session(self, ended: Sequence[Done]) -> None:
        """End the session where nothing runs any more.

        Raises:
            AutocompressError: a trial broke the device of the executor.
            DiskFullError: a trial could not be stored.
        """
        for done in ended:
            failure = done.result.failure
            if done.result.state == "interrupted" and failure is not None:
                raise DiskFullError(failure.stage, failure.reason)
            if done.device_lost:
                failures = [r.failure for r in (done.result, *done.result.derived) if r.failure]
                reason = f" ({failures[-1].reason})" if failures else ""
                raise AutocompressError(
                    f"trial {done.number} broke the GPU for this process{reason}; that is noted, "
                    f"and what is finished is kept: resume {self.context.folder} in a new process"
                )

    def _report(self, number: int) -> None:
        trial = self.run.trial(number)
        total, eta_s = self.budget.plan(max(self.done, self.budget.before + 1))
        picks = self.run.picks()
        self.progress(
            TrialDone(
                number=number,
                state=trial.state,
                reason=trial.reason,
                metrics=trial.metrics,
                best=picks["balanced"].metrics if "balanced" in picks else {},
                done=self.done,
                total=total,
                elapsed_s=self.budget.elapsed_s,
                eta_s=eta_s,
                parent=trial.parent,
            )
        )

    def _shorten(self) -> None:
        """Train fewer epochs from now on, once, if else too few trials fit into the time."""
        if not self.may_shorten:
            return
        fidelity = self.budget.fidelity(_costs(self.run.trials()))
        if fidelity is None:
            return
        self.may_shorten = False
        if fidelity < 1:
            self.proposer.fidelity = fidelity
            self.journal.append(Session(time=now(), fidelity=fidelity))
            text = f"to fit enough trials into the time, they train {fidelity:.0%} of the epochs"
            self.progress(Message(text))

    def _interrupt(self) -> None:
        """End what still runs, so that it waits for the next session."""
        for number in list(self.running):
            self.executor.cancel(number)
        while self.running:
            for done in self.executor.wait(POLL_S):
                self._end(done)


def _costs(trials: Sequence[TrialRecord]) -> list[float]:
    """Return the seconds that each complete trial took, without derived ones."""
    durations = [t.duration_s for t in trials if t.counts and t.state == "complete"]
    return [duration for duration in durations if duration is not None]


def _stopping_pays(trials: Sequence[TrialRecord]) -> bool:
    """Return whether enough is known, and trials train long enough, for estimates to pay.

    Early stopping saves some 5 % of the epochs (``benchmarks/early_stopping.py``), and needs an
    estimate with its latency for every trial, which takes about a second.
    """
    trained = [t for t in trials if t.state == "complete" and t.parent is None]
    spent = [sum(t.seconds.get(stage, 0.0) for stage in TRAINING_STAGES) for t in trained]
    return len(spent) >= SETTLED and statistics.median(spent) >= PAYS_S
