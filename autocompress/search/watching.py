"""Watches a trial train, and ends it where it can no longer enter the front."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from torch import nn

from autocompress.artifacts import read_json
from autocompress.errors import TrialError
from autocompress.recipe import Recipe
from autocompress.search.drafting import Draft
from autocompress.search.early_stopping import EarlyStopping, Finished, Running, by_stage, judge
from autocompress.search.samplers import was_trained
from autocompress.search.workbench import Workbench
from autocompress.training.fitting import EpochRecord, Follower

PAYS_S = 20.0  # of training per trial


class StoppedEarlyError(TrialError):
    """A trial could no longer enter the front.

    Attributes:
        facts: epoch, bound, and the trial that dominates it.
        metrics: what was known of it then.
    """

    def __init__(
        self, stage: str, reason: str, facts: Mapping[str, Any], metrics: Mapping[str, Any]
    ) -> None:
        super().__init__(stage, reason)
        self.facts = dict(facts)
        self.metrics = dict(metrics)


class History:
    """The complete trials of a study with their curves, each read once.

    Args:
        folder: where each trial has a folder.
        is_feasible: tells whether a complete trial keeps all limits.
    """

    def __init__(self, folder: Path, is_feasible: Callable[[FrozenTrial], bool]) -> None:
        self.folder, self.is_feasible = folder, is_feasible
        self._known: dict[int, Finished] = {}
        self._training_s: dict[int, float] = {}

    def of(self, study: optuna.Study) -> list[Finished]:
        """Return all trials that were trained to the end, but not what was harvested."""
        complete = (optuna.trial.TrialState.COMPLETE,)
        for trial in study.get_trials(deepcopy=False, states=complete):
            if was_trained(trial) and trial.number not in self._known:
                self._known[trial.number] = self._read(trial)
                spent = trial.user_attrs.get("seconds", {})
                training = (spent.get(stage, 0.0) for stage in ("sparsify", "recover"))
                self._training_s[trial.number] = sum(training)
        return list(self._known.values())

    def makes_stopping_pay(self, study: optuna.Study) -> bool:
        """Return whether enough is known, and trials train long enough, for drafts to pay.

        Early stopping saves some 5 % of the epochs (``benchmarks/early_stopping.py``), and needs
        a draft with its latency for every trial, which takes about a second.
        """
        enough = len(self.of(study)) >= EarlyStopping.min_trials
        return enough and statistics.median(self._training_s.values()) >= PAYS_S

    def _read(self, trial: FrozenTrial) -> Finished:
        curve = read_json(self.folder / f"{trial.number:05d}" / "curve.json")
        accuracy, latency_ms, parameters = trial.values
        return Finished(
            number=trial.number,
            curve=by_stage((point["stage"], point["accuracy"]) for point in curve),
            accuracy=accuracy,
            latency_ms=latency_ms,
            parameters=int(parameters),
            feasible=self.is_feasible(trial),
        )


class TrialWatch(Follower):
    """Follows one trial's training.

    Args:
        trial: the trial.
        recipe: what it trains.
        drafted: its structure; without it only a limit on accuracy can stop it.
        bench: what all trials share.
        history: the complete trials.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        recipe: Recipe,
        drafted: Draft | None,
        bench: Workbench,
        history: History,
    ) -> None:
        self.trial, self.drafted, self.bench, self.history = trial, drafted, bench, history
        training = recipe.training
        self.planned = {"sparsify": training.epochs, "recover": training.recovery_epochs}
        self.points: list[tuple[str, float]] = []

    def batch(self) -> None:
        """Pass it on."""
        self.bench.follower.batch()

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Look whether the trial is still worth its time.

        Raises:
            StoppedEarlyError: it is not.
        """
        self.bench.follower.epoch(record, model)
        self.points.append((record.stage, record.accuracy))
        drafted, drop = self.drafted, self.bench.limits.accuracy_drop
        if not self.bench.economy.early_stopping:
            return
        running = Running(
            curve=by_stage(self.points),
            planned=self.planned,
            latency_ms=drafted.latency_ms if drafted else None,
            parameters=drafted.parameters if drafted and drafted.exact else None,
        )
        baseline = self.bench.baseline_metrics["accuracy"]
        verdict = judge(
            running,
            self.history.of(self.trial.study),
            images=len(self.bench.batches.splits.valid.labels),
            lowest_accuracy=None if drop is None else baseline - drop,
        )
        if verdict.stop:
            known = drafted.metrics if drafted else {}
            metrics = {**known, "accuracy": record.accuracy}
            raise StoppedEarlyError(record.stage, verdict.reason, asdict(verdict), metrics)
