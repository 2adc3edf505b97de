"""How far a run is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from autocompress.runs.lock import is_being_run
from autocompress.runs.records import STATES, TrialRecord

if TYPE_CHECKING:
    from autocompress.runs.reading import Run


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of trials by state; derived trials are counted apart from all others.

    Attributes:
        complete: trained, evaluated and measured.
        pruned: not worth their time.
        failed: ended by an error.
        running: being run now.
        waiting: interrupted, and to be run again.
        derived: that share the training run of another.
    """

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    derived: int


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a trial is not complete, or its final evaluation is not.

    Attributes:
        trial: its number.
        state: ``"failed"`` or ``"pruned"``; ``"complete"`` where the final evaluation failed.
        stage: in which it happened.
        reason: in one line.
    """

    trial: int
    state: str
    stage: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        study: its name.
        finished: whether the front was measured again and scored on the test split.
        active: whether a process runs trials now.
        counts: trials by state.
        wanted: trials in all; ``None``: as many as fit into the time.
        eta_s: expected seconds until the last trial ends; ``None`` where no process runs them, or
            where only the time is limited.
        seconds_per_stage: mean over the trials that ended.
        best: way to pick, as ``Run.picks``, to the number of the trial.
        front_size: trials on the front.
        reasons: of trials that are not complete, or whose final evaluation is not.
        damages: files that are missing, were changed, or are not the run's own.
    """

    study: str
    finished: bool
    active: bool
    counts: Counts
    wanted: int | None
    eta_s: float | None
    seconds_per_stage: Mapping[str, float]
    best: Mapping[str, int]
    front_size: int
    reasons: tuple[Reason, ...]
    damages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: what ``autocompress status --json`` prints."""
        plain = asdict(self)
        trials = {**plain.pop("counts"), "wanted": plain.pop("wanted")}
        return {
            **plain,
            "trials": trials,
            "reasons": list(plain["reasons"]),
            "damages": list(plain["damages"]),
        }


def status_of(run: "Run") -> Status:
    """Return how far a run is."""
    trials, wanted = run.trials(), run.wanted
    active = is_being_run(run.path)
    return Status(
        study=run.name,
        finished=run.finished,
        active=active,
        damages=run.damages(),
        counts=counts_of(trials),
        wanted=wanted,
        eta_s=_eta_s(trials, wanted) if active else None,
        seconds_per_stage=_mean_seconds([trial for trial in trials if trial.counts]),
        best={how: trial.number for how, trial in run.picks().items()},
        front_size=len(run.front()),
        reasons=tuple(
            Reason(trial=t.number, state=t.state, stage=why.stage or None, reason=why.reason)
            for t in trials
            if (why := t.failure or t.final_failure) is not None and why.reason
        ),
    )


def counts_of(trials: Sequence[TrialRecord]) -> Counts:
    """Return how many trials are in each state."""
    own = [trial.state for trial in trials if trial.parent is None]
    counts = {state: own.count(state) for state in STATES}
    return Counts(**counts, derived=len(trials) - len(own))


def _eta_s(trials: Sequence[TrialRecord], wanted: int | None) -> float | None:
    """Return the seconds that the trials left take, at the mean of those that ended."""
    done = [trial for trial in trials if trial.counts]
    durations = [t.duration_s for t in done if t.duration_s is not None]
    if not durations or wanted is None:
        return None
    at_once = max(1, sum(trial.state == "running" for trial in trials))
    return max(0, wanted - len(done)) * sum(durations) / len(durations) / at_once


def _mean_seconds(trials: Sequence[TrialRecord]) -> dict[str, float]:
    stages = dict.fromkeys(stage for trial in trials for stage in trial.seconds)
    means = {}
    for stage in stages:
        values = [trial.seconds[stage] for trial in trials if stage in trial.seconds]
        means[stage] = sum(values) / len(values)
    return means
