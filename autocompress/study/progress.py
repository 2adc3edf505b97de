"""How far a run is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autocompress.study.picks import PICKS
from autocompress.study.storage import is_being_run
from autocompress.study.trials import ENDED, TrialRecord

if TYPE_CHECKING:
    from autocompress.study.records import Run


def status_of(run: "Run") -> dict[str, Any]:
    """Return what :meth:`autocompress.study.records.Run.status` tells."""
    trials, wanted = run.trials(), run.wanted
    done = [trial for trial in trials if trial.counts]
    active, counts = is_being_run(run.path), counts_of(trials)
    if not active:  # whoever ran them was killed; they come first when it goes on
        counts |= {"waiting": counts["waiting"] + counts["running"], "running": 0}
    return {
        "study": run.name,
        "finished": run.finished,
        "active": active,
        "trials": {**counts, "wanted": wanted},
        "eta_s": _eta_s(trials, wanted) if active else None,
        "seconds_per_stage": _mean_seconds(done),
        "best": {how: run.pick(how).number for how in PICKS} if run.front() else {},
        "front_size": len(run.front()),
        "reasons": [
            {"trial": t.number, "state": t.state, "stage": t.stage, "reason": t.reason}
            for t in trials
            if t.reason
        ],
    }


def counts_of(trials: Sequence[TrialRecord]) -> dict[str, int]:
    """Return how many trials are in each state; those that were harvested are told apart."""
    own: list[str] = [trial.state for trial in trials if trial.harvested_from is None]
    counts = {state: own.count(state) for state in (*ENDED, "running", "waiting")}
    return {**counts, "harvested": len(trials) - len(own)}


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
