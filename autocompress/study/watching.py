"""Tells about trials as they end, and plans the rest of the time by what they cost."""

from collections.abc import Sequence
from pathlib import Path

import optuna

from autocompress.events import Message, TrialDone
from autocompress.search.objective import FIDELITY
from autocompress.study.budget import Budget
from autocompress.study.preparation import Listener
from autocompress.study.records import Run
from autocompress.study.trials import ENDED, TrialRecord


class Watch:
    """Tells about trials that ended since it looked last, whichever process ran them.

    Args:
        study: of the run, to plan the length of its trials.
        folder: of the run.
        budget: what is left.
        shorten: whether the epochs of trials may be fewer, to fit enough of them into the time.
        tell: hears of every trial that ended.
    """

    def __init__(
        self, study: optuna.Study, folder: Path, budget: Budget, tell: Listener, *, shorten: bool
    ) -> None:
        self.study, self.budget, self.tell = study, budget, tell
        self.run = Run.open(folder)
        self.known = {t.number for t in self.run.trials() if t.state in ENDED}
        self.done = budget.before
        self.planned = not shorten or FIDELITY in study.user_attrs

    def look(self) -> None:
        """Tell about what ended since the last look."""
        trials = self.run.trials()
        for record in trials:
            if record.state not in ENDED or record.number in self.known:
                continue
            self.known.add(record.number)
            self.done += record.counts
            total, eta_s = self.budget.plan(max(self.done, self.budget.before + 1))
            best = self.run.pick("balanced").metrics if self.run.front() else {}
            self.tell(
                TrialDone(
                    number=record.number,
                    state=record.state,
                    reason=record.reason,
                    metrics=dict(record.metrics),
                    best=dict(best),
                    done=self.done,
                    total=total,
                    elapsed_s=self.budget.elapsed_s,
                    eta_s=eta_s,
                    harvested_from=record.harvested_from,
                )
            )
        if not self.planned:
            self._plan_fidelity(trials)

    def _plan_fidelity(self, trials: Sequence[TrialRecord]) -> None:
        costs = [t.duration_s for t in trials if t.counts and t.state == "complete"]
        fidelity = self.budget.fidelity([cost for cost in costs if cost is not None])
        if fidelity is None:
            return
        self.planned = True
        if fidelity < 1:
            self.study.set_user_attr(FIDELITY, fidelity)
            told = f"to fit enough trials into the time, they train {fidelity:.0%} of the epochs"
            self.tell(Message(told))
