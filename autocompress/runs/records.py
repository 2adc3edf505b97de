"""One trial of a run, as it is read: what was stored of it, and what that is worth now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from autocompress.metrics import Limits, Metric
from autocompress.metrics.pareto import costs, non_dominated
from autocompress.recipe_text import recipe_in_short
from autocompress.results import EpochRecord, Estimates, Failure, StageResult
from autocompress.runs import layout
from autocompress.runs.final import Final, FinalStage, FinalTrial
from autocompress.runs.stored import StoredTrial

TrialState = Literal["complete", "pruned", "failed", "running", "waiting"]
ENDED: tuple[TrialState, ...] = ("complete", "pruned", "failed")
STATES: tuple[TrialState, ...] = (*ENDED, "running", "waiting")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: of the trial, from 0.
        state: how far it is; one that was interrupted is waiting again.
        origin: who proposed it: ``"sampler"``, ``"initial"`` or ``"derived"``.
        name: of an initial recipe.
        start: number of the trial whose weights it starts from; ``None``: the baseline.
        parent: number of the trial whose training run it shares, if it has none itself.
        params: values of the search parameters, flat.
        recipe: the nested settings of the recipe.
        metrics: what counts: the final evaluation's where there is one, else the search's.
        searched: what the search measured, of all trials alike.
        violations: by how much each limit of the run, as it is now, is broken; 0 or less is
            kept. A limit whose metric is not known is left out.
        feasible: whether it is complete and keeps all limits.
        failure: why it is not complete.
        curve: of its training.
        stages: what each stage led to.
        final_stages: the same, with the latency after each, of a final evaluation.
        final_failure: what went wrong in its final evaluation.
        seconds: wall-clock time by stage.
        started: when it began, with its time zone; of a derived trial ``None``.
        finished: when it ended.
        folder: where its weights, plan, curve and samples are.
        sha256: of its folder; ``None`` where it was not noted.
        threads: of the CPU that it was trained with.
        lost: how often the run ended without a word while it ran.
    """

    number: int
    state: TrialState
    origin: str = "sampler"
    name: str | None = None
    start: int | None = None
    parent: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Estimates = field(default_factory=dict)
    searched: Estimates = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    feasible: bool = False
    failure: Failure | None = None
    curve: tuple[EpochRecord, ...] = ()
    stages: tuple[StageResult, ...] = ()
    final_stages: tuple[FinalStage, ...] = ()
    final_failure: Failure | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None
    folder: Path | None = None
    sha256: str | None = None
    threads: int | None = None
    lost: int = 0

    def __repr__(self) -> str:
        known = [f"{name}={found.value:.4g}" for name, found in self.metrics.items()]
        known = [f"{self.stage}: {self.reason}"] if self.failure else known
        parts = (f"trial {self.number}, {self.state}", self.in_short, ", ".join(known))
        return f"<{'; '.join(part for part in parts if part)}>"

    @cached_property
    def in_short(self) -> str:
        """The recipe in one line."""
        return recipe_in_short(self.recipe)

    @property
    def precision(self) -> str:
        """Of the deployed model: ``"fp32"``, ``"fp16"`` or ``"int8"``."""
        return str(self.recipe.get("precision", "fp32"))

    @property
    def duration_s(self) -> float | None:
        """Wall-clock time; ``None`` until it has ended."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    @property
    def counts(self) -> bool:
        """Whether it is one of the finished trials that a study wants so many of."""
        return self.state in ENDED and self.parent is None

    @property
    def reason(self) -> str | None:
        """Why it is not complete."""
        return None if self.failure is None else self.failure.reason

    @property
    def stage(self) -> str | None:
        """In which stage it failed or was pruned."""
        return None if self.failure is None else self.failure.stage or None

    @property
    def bound(self) -> float | None:
        """The best score that a trial which was stopped early could still reach."""
        return None if self.failure is None else self.failure.bound


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What decides how a stored trial is read, the same for all trials.

    Attributes:
        folder: of the run.
        limits: as they are now.
        baseline: what the search measured of it; empty while it is not known.
        final: the final evaluation.
    """

    folder: Path
    limits: Limits
    baseline: Estimates
    final: Final

    def record(self, stored: StoredTrial, *, active: bool) -> TrialRecord:
        """Return what a stored trial is.

        Args:
            stored: as it was written.
            active: whether a process runs the trials of this run.
        """
        result, state = stored.result, _state(stored, active=active)
        final = self.final.trials.get(stored.number, FinalTrial())
        searched = {} if result is None else result.metrics
        metrics = {**searched, **final.metrics}
        violations = self.limits.violations(metrics, self.baseline)
        own = None
        if result is not None and result.folder is not None:
            own = layout.trial_folder(self.folder, result.folder)
        return TrialRecord(
            number=stored.number,
            state=state,
            origin=stored.origin,
            name=stored.name,
            start=stored.start,
            parent=stored.parent,
            params=stored.params,
            recipe=stored.recipe,
            metrics=metrics,
            searched=searched,
            violations=violations,
            feasible=state == "complete" and all(by <= 0 for by in violations.values()),
            failure=None if result is None else result.failure,
            curve=() if result is None else result.curve,
            stages=() if result is None else result.stages,
            final_stages=final.stages,
            final_failure=final.failure,
            seconds={} if result is None else result.seconds,
            started=None if state == "waiting" else stored.started,
            finished=stored.finished,
            folder=own if own is not None and own.is_dir() else None,
            sha256=None if result is None else result.sha256,
            threads=None if result is None else result.threads,
            lost=stored.lost,
        )


def _state(stored: StoredTrial, *, active: bool) -> TrialState:
    if stored.result is None or stored.result.state == "interrupted":
        return "running" if active and not stored.interrupted else "waiting"
    return stored.result.state


def front_of(
    objectives: Sequence[Metric], score: Metric, trials: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    """Return the feasible trials that none dominates, by the first objective but the score."""
    names = {metric.name for metric in objectives}
    feasible = [t for t in trials if t.feasible and names <= t.searched.keys()]
    points = [costs(trial.searched, objectives) for trial in feasible]
    first = next((metric for metric in objectives if metric != score), objectives[0])
    return tuple(
        sorted(
            (feasible[index] for index in non_dominated(points)),
            key=lambda trial: first.sign * trial.metrics[first.name].value,
        )
    )
