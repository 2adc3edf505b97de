"""What a search reports while it runs: plain facts for a terminal, a notebook or a log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocompress.metrics import Metric
from autocompress.results import Estimates


@dataclass(frozen=True)
class Started:
    """A run began, or goes on.

    Attributes:
        name: the study.
        folder: where the run is stored.
        trials: how many finished trials it wants in all; ``None``: as many as fit into the time.
        done: how many it has already.
        objectives: what the search improves, in order.
    """

    name: str
    folder: str
    trials: int | None
    done: int
    objectives: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class Message:
    """One line about what happens next."""

    text: str


@dataclass(frozen=True)
class BaselineReady:
    """The baseline is trained and measured."""

    metrics: Estimates


@dataclass(frozen=True)
class EpochDone:
    """One epoch of a training run ended.

    Attributes:
        stage: what is trained: ``"baseline"``, ``"teacher"``, ``"train"`` or ``"recover"``.
        epoch: how many have ended, from 1.
        epochs: length of this training run.
        score: the task's first score on ``valid``.
    """

    stage: str
    epoch: int
    epochs: int
    score: float


@dataclass(frozen=True, kw_only=True)
class TrialDone:
    """A trial ended.

    Attributes:
        number: of the trial.
        state: ``"complete"``, ``"pruned"`` or ``"failed"``.
        reason: why it failed or was stopped.
        metrics: what is known of it; empty if nothing.
        best: metrics of the best balanced trial so far; empty before the first.
        done: finished trials of the run.
        total: wanted trials of the run.
        elapsed_s: seconds since the first trial of this session began.
        eta_s: expected seconds until the last trial ends.
        parent: number of the trial whose training run it shares, if it has none itself.
    """

    number: int
    state: str
    reason: str | None
    metrics: Estimates
    best: Estimates = field(default_factory=dict)
    done: int
    total: int
    elapsed_s: float
    eta_s: float
    parent: int | None = None


@dataclass(frozen=True)
class FinalEvaluation:
    """One more member of the front was measured again and scored on ``test``."""

    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """The run is over.

    Attributes:
        folder: where it is stored.
        front: its baseline and front, as ``Run.front_document`` returns them.
    """

    folder: str
    front: Mapping[str, Any]


Event = Started | Message | BaselineReady | EpochDone | TrialDone | FinalEvaluation | Finished
Progress = Callable[[Event], None]
"""Receives every event of a search."""


def ignore(_: Event) -> None:
    """Receive an event and do nothing."""
