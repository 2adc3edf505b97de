"""One trial of a run, as it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna

from autocompress.conversion.precision import Precision
from autocompress.search.limits import Limits, is_finished
from autocompress.wording import recipe_in_short

State = Literal["complete", "pruned", "failed", "running", "waiting"]
FINAL, SEARCHED = "final_", "search_"  # begin names of what the last word and the search measured
ENDED = ("complete", "pruned", "failed")
_STATES: Mapping[optuna.trial.TrialState, State] = {
    optuna.trial.TrialState.COMPLETE: "complete",
    optuna.trial.TrialState.PRUNED: "pruned",
    optuna.trial.TrialState.FAIL: "failed",
    optuna.trial.TrialState.RUNNING: "running",
    optuna.trial.TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as it is stored.

    Attributes:
        number: its number in the study, from 0.
        state: how far it is; one that was interrupted is waiting again.
        reason: why it failed or was stopped.
        stage: the stage in which that happened.
        metrics: accuracy, latency and sizes; after the last word also ``test_accuracy``. Latency
            is then the last word's, in every name that begins with ``latency_``: what the search
            measured is left under ``search_latency_ms`` and so on, and what the last word did
            is also under ``final_latency_ms`` and so on.
        violations: by how much each limit of the run, as it is now, is broken; 0 or less is kept.
            A limit whose metric is not known is left out.
        recipe: the nested settings of the recipe.
        params: every knob, flat.
        seconds: wall-clock time per stage.
        started: when it began.
        finished: when it ended.
        feasible: whether it was trained to its end and keeps all limits.
        folder: where its weights, plan, curve and samples are.
        harvested_from: number of the trial whose training run it shares, if it has none itself.
        threads: of the CPU that it was trained with.
        sha256: of its folder; ``None`` where it was not noted.
        stopped: where early stopping ended it: the ``epoch``, the highest accuracy that it could
            still reach (``bound``), and the trial it was ``dominated_by``; else empty.
    """

    number: int
    state: State
    reason: str | None
    stage: str | None
    metrics: Mapping[str, Any]
    violations: Mapping[str, float]
    recipe: Mapping[str, Any]
    params: Mapping[str, Any]
    seconds: Mapping[str, float]
    started: datetime | None
    finished: datetime | None
    feasible: bool
    folder: Path | None
    harvested_from: int | None = None
    threads: int | None = None
    sha256: str | None = None
    stopped: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def in_short(self) -> str:
        """The recipe in one line."""
        return recipe_in_short(self.recipe)

    @property
    def searched(self) -> tuple[float, float, float]:
        """Accuracy, latency in ms and parameters as the search measured them, all trials alike."""
        metrics = self.metrics
        latency_ms = metrics.get(f"{SEARCHED}latency_ms", metrics.get("latency_ms"))
        return metrics["accuracy"], latency_ms, metrics["parameters"]

    @property
    def duration_s(self) -> float | None:
        """Wall-clock time; ``None`` until it has ended."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    @property
    def precision(self) -> Precision:
        """Of the deployed model; runs from before there was a choice are in fp32."""
        precision: Precision = self.recipe.get("precision", "fp32")
        return precision

    @property
    def counts(self) -> bool:
        """Whether it is one of the finished trials that a study wants so many of."""
        return self.state in ENDED and self.harvested_from is None


@dataclass(frozen=True)
class Judge:
    """What trials of a run are judged by when they are read.

    The database has violations too, of the limits when the trial ended. They stay as they are,
    and samplers learn from them; what is read follows the limits as they are now.

    Attributes:
        limits: of the study.
        baseline_accuracy: in [0, 1]; ``None`` while there is no baseline: nothing is judged then.
        final: metrics that the last word adds, by the trial's number as a text.
    """

    limits: Limits
    baseline_accuracy: float | None
    final: Mapping[str, Any]

    def metrics(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Return all that is known of a trial, with the latency that counts under its own name."""
        searched = trial.user_attrs.get("metrics", {})
        final = self.final.get(str(trial.number), {})
        counts = {n.removeprefix(FINAL): v for n, v in final.items() if n.startswith(FINAL)}
        replaced = {f"{SEARCHED}{name}": searched[name] for name in counts if name in searched}
        return {**searched, **final, **counts, **replaced}

    def violations(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much each limit is broken whose metric is known."""
        if self.baseline_accuracy is None:
            return {}
        return self.limits.violations(metrics, self.baseline_accuracy)


def record_of(trial: optuna.trial.FrozenTrial, folder: Path, judge: Judge) -> TrialRecord:
    """Return what a study's database holds of a trial.

    Args:
        trial: as Optuna returns it.
        folder: where each trial has a folder.
        judge: the limits, and what else is known.
    """
    attributes, metrics = trial.user_attrs, judge.metrics(trial)
    violations = judge.violations(metrics)
    own = folder / attributes.get("folder", f"{trial.number:05d}")
    state = _STATES[trial.state]
    if not is_finished(trial.constraints):
        state = "pruned"
    return TrialRecord(
        number=trial.number,
        state=state,
        reason=attributes.get("reason"),
        stage=attributes.get("stage"),
        metrics=metrics,
        violations=violations,
        recipe=attributes.get("recipe", {}),
        params=attributes.get("params", trial.params),
        seconds=attributes.get("seconds", {}),
        started=None if state == "waiting" else trial.datetime_start,
        finished=trial.datetime_complete,
        feasible=state == "complete" and all(by <= 0 for by in violations.values()),
        folder=own if own.is_dir() else None,
        harvested_from=attributes.get("harvested_from"),
        threads=attributes.get("threads"),
        sha256=attributes.get("sha256"),
        stopped=attributes.get("stopped", {}),
    )
