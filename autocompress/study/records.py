"""A run, as it lies on disk: its baseline, trials, front and picks."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
import pandas as pd

from autocompress.artifacts import read_json
from autocompress.errors import RunError, UsageError
from autocompress.study.storage import DATABASE, open_storage
from autocompress.wording import recipe_in_short

FORMAT = 1  # of a run's folder
STUDY_FILE, RUN_FILE, LAST_WORD_FILE = "study.toml", "run.json", "last_word.json"
UNITS_FILE = "units.json"
State = Literal["complete", "pruned", "failed", "interrupted", "running", "waiting"]
Pick = Literal["accurate", "fast", "small", "balanced"]
PICKS: tuple[Pick, ...] = ("accurate", "fast", "small", "balanced")
INTERRUPTED = "interrupted"
BALANCED_DROP = 0.01  # of accuracy, that a balanced pick may lose
_STATES: Mapping[optuna.trial.TrialState, State] = {
    optuna.trial.TrialState.COMPLETE: "complete",
    optuna.trial.TrialState.PRUNED: "pruned",
    optuna.trial.TrialState.FAIL: "failed",
    optuna.trial.TrialState.RUNNING: "running",
    optuna.trial.TrialState.WAITING: "waiting",
}
_FRONT_KEYS = (
    "accuracy",
    "latency_ms",
    "latency_ratio",
    "latency_ratio_low",
    "latency_ratio_high",
    "parameters",
    "parameter_ratio",
    "nonzero",
    "size_bytes",
    "macs",
    "test_accuracy",
    "final_latency_ms",
    "final_latency_ratio",
)


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as it is stored.

    Attributes:
        number: its number in the study, from 0.
        state: how far it is; ``interrupted`` trials are tried again by ``resume``.
        reason: why it failed or was stopped.
        stage: the stage in which that happened.
        metrics: accuracy, latency and sizes; after the last word also ``test_accuracy``,
            ``final_latency_ms`` and ``final_latency_ratio``.
        recipe: the nested settings of the recipe.
        params: every knob, flat.
        seconds: wall-clock time per stage.
        started: when it began.
        finished: when it ended.
        feasible: whether it keeps all limits.
        folder: where its weights, plan, curve and samples are.
    """

    number: int
    state: State
    reason: str | None
    stage: str | None
    metrics: Mapping[str, Any]
    recipe: Mapping[str, Any]
    params: Mapping[str, Any]
    seconds: Mapping[str, float]
    started: datetime | None
    finished: datetime | None
    feasible: bool
    folder: Path | None


class Run:
    """A run's folder, opened for reading.

    Attributes:
        path: the folder.
        config: the resolved study file.
    """

    def __init__(self, path: Path, config: dict[str, Any], header: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self._header = header
        self._opened: optuna.Study | None = None

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open a run.

        Raises:
            RunError: the folder is missing, not a run, or damaged; the message says which.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path} is not a folder; a run is a folder such as runs/quickstart")
        if not (path / RUN_FILE).exists():
            raise RunError(f"{path} is not a run: it has no {RUN_FILE}")
        header = read_json(path / RUN_FILE)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise RunError(f"{path / RUN_FILE} does not have format {FORMAT} of a run")
        try:
            config = tomllib.loads((path / STUDY_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path / STUDY_FILE} cannot be read: {error}") from error
        return cls(path, config, header)

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self._header["name"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The hardware and software that all latencies of this run were measured on."""
        return dict(self._header["fingerprint"])

    @property
    def objectives(self) -> dict[str, str]:
        """Metric to ``"maximize"`` or ``"minimize"``."""
        return dict(self._header["objectives"])

    @property
    def baseline(self) -> dict[str, Any]:
        """Metrics of the baseline; empty until it is trained and measured."""
        path = self.path / "baseline" / "metrics.json"
        metrics: dict[str, Any] = dict(read_json(path)) if path.exists() else {}
        return {**metrics, **self._last_word().get("baseline", {})}

    @property
    def units(self) -> dict[str, Any]:
        """The baseline's groups of units, and what cannot be removed and why."""
        path = self.path / "baseline" / UNITS_FILE
        return dict(read_json(path)) if path.exists() else {"units": [], "fixed": {}}

    @property
    def finished(self) -> bool:
        """Whether the last word is spoken: the front was measured again and opened on test."""
        return (self.path / LAST_WORD_FILE).exists()

    def trials(self) -> list[TrialRecord]:
        """Return all trials, in the order of their numbers."""
        study = self._study()
        if study is None:
            return []
        final = self._last_word().get("trials", {})
        return [self._record(t, final) for t in study.get_trials(deepcopy=False)]

    def trial(self, number: int) -> TrialRecord:
        """Return one trial.

        Raises:
            UsageError: there is no such trial; the message gives the range.
        """
        trials = self.trials()
        if not 0 <= number < len(trials):
            there = f"it has trials 0 to {len(trials) - 1}" if trials else "it has no trials yet"
            raise UsageError(f"{self.path} has no trial {number}; {there}")
        return trials[number]

    def front(self) -> list[TrialRecord]:
        """Return the feasible trials that no other feasible trial beats, fastest first."""
        study = self._study()
        if study is None:
            return []
        try:
            best = {trial.number for trial in study.best_trials}
        except ValueError:  # Optuna's word for "no trial has finished yet"
            return []
        front = [trial for trial in self.trials() if trial.number in best and trial.feasible]
        return sorted(front, key=lambda trial: trial.metrics["latency_ms"])

    def table(self) -> pd.DataFrame:
        """Return one row per trial: state, metrics and knobs (prefixed with ``recipe.``)."""
        front = {trial.number for trial in self.front()}
        rows = [
            {
                "trial": trial.number,
                "state": trial.state,
                "on_front": trial.number in front,
                "feasible": trial.feasible,
                **{k: v for k, v in trial.metrics.items() if not isinstance(v, list)},
                **{f"recipe.{name}": value for name, value in trial.params.items()},
                "stage": trial.stage,
                "reason": trial.reason,
                "recipe": recipe_in_short(trial.recipe),
            }
            for trial in self.trials()
        ]
        return pd.DataFrame(rows)

    def pick(
        self,
        how: Pick = "balanced",
        *,
        max_latency_ms: float | None = None,
        min_accuracy: float | None = None,
    ) -> TrialRecord:
        """Choose one member of the front.

        ``balanced`` takes, among the models within one point of the baseline's accuracy, the one
        with the smallest product of latency and parameter ratio; if none is, the most accurate.

        Args:
            how: ``accurate``, ``fast``, ``small`` or ``balanced``.
            max_latency_ms: leave out slower models.
            min_accuracy: leave out models below this accuracy on ``valid``, in [0, 1].

        Raises:
            UsageError: nothing on the front meets the demands; the message gives the best values.
        """
        if how not in PICKS:
            raise UsageError(f"unknown pick {how!r}; allowed: {', '.join(PICKS)}")
        front = self.front()
        if not front:
            raise UsageError(f"{self.path} has no finished, feasible trial to pick from")
        fitting = [
            trial
            for trial in front
            if (max_latency_ms is None or trial.metrics["latency_ms"] <= max_latency_ms)
            and (min_accuracy is None or trial.metrics["accuracy"] >= min_accuracy)
        ]
        if not fitting:
            fastest = min(trial.metrics["latency_ms"] for trial in front)
            best = max(trial.metrics["accuracy"] for trial in front)
            raise UsageError(
                f"no model on the front meets the demands; the fastest has {fastest:.3f} ms, "
                f"the most accurate {best:.4f}"
            )
        return max(fitting, key=lambda trial: self._merit(how, trial.metrics))

    def status(self) -> dict[str, Any]:
        """Return trials by state, reasons of failures, the best so far, and time per stage."""
        trials = self.trials()
        done = [trial for trial in trials if trial.state in ("complete", "pruned", "failed")]
        wanted = int(self.config["study"]["trials"])
        durations = [
            (t.finished - t.started).total_seconds() for t in done if t.finished and t.started
        ]
        left = max(0, wanted - len(done))
        eta = left * sum(durations) / len(durations) if durations else None
        front = self.front()
        best = {how: self.pick(how).number for how in PICKS} if front else {}
        return {
            "study": self.name,
            "finished": self.finished,
            "trials": {**self._counts(trials), "wanted": wanted},
            "eta_s": eta,
            "seconds_per_stage": _mean_seconds(done),
            "best": best,
            "front_size": len(front),
            "reasons": [
                {"trial": t.number, "state": t.state, "stage": t.stage, "reason": t.reason}
                for t in trials
                if t.reason
            ],
        }

    def front_document(self) -> dict[str, Any]:
        """Return baseline and front as plain data: what ``autocompress front --json`` prints."""
        return {
            "study": self.name,
            "objectives": self.objectives,
            "baseline": self.baseline,
            "front": [
                {
                    "trial": trial.number,
                    **{key: trial.metrics.get(key) for key in _FRONT_KEYS},
                    "feasible": trial.feasible,
                    "recipe": dict(trial.recipe),
                }
                for trial in self.front()
            ],
            "trials": self._counts(self.trials()),
        }

    def _merit(self, how: Pick, metrics: Mapping[str, Any]) -> float:
        if how == "accurate":
            return float(metrics["accuracy"])
        if how == "fast":
            return -float(metrics["latency_ms"])
        if how == "small":
            return -float(metrics["parameters"])
        if metrics["accuracy"] < self.baseline["accuracy"] - BALANCED_DROP:
            return float(metrics["accuracy"]) - 2  # below every model that keeps its accuracy
        return -float(metrics["latency_ratio"] * metrics["parameter_ratio"])

    def _counts(self, trials: Sequence[TrialRecord]) -> dict[str, int]:
        states = ("complete", "pruned", "failed", "interrupted", "running", "waiting")
        return {state: sum(trial.state == state for trial in trials) for state in states}

    def _study(self) -> optuna.Study | None:
        if self._opened is None and (self.path / DATABASE).exists():
            storage = open_storage(self.path)
            if self.name in optuna.get_all_study_names(storage):
                self._opened = optuna.load_study(study_name=self.name, storage=storage)
        return self._opened

    def _last_word(self) -> dict[str, Any]:
        path = self.path / LAST_WORD_FILE
        return dict(read_json(path)) if path.exists() else {}

    def _record(self, trial: optuna.trial.FrozenTrial, final: Mapping[str, Any]) -> TrialRecord:
        attributes = trial.user_attrs
        folder = self.path / "trials" / f"{trial.number:05d}"
        state = _STATES[trial.state]
        if state == "failed" and attributes.get("stage") == INTERRUPTED:
            state = "interrupted"
        return TrialRecord(
            number=trial.number,
            state=state,
            reason=attributes.get("reason"),
            stage=attributes.get("stage"),
            metrics={**attributes.get("metrics", {}), **final.get(str(trial.number), {})},
            recipe=attributes.get("recipe", {}),
            params=attributes.get("params", trial.params),
            seconds=attributes.get("seconds", {}),
            started=trial.datetime_start,
            finished=trial.datetime_complete,
            feasible=state == "complete" and all(v <= 0 for v in trial.constraints.values()),
            folder=folder if folder.is_dir() else None,
        )


def _mean_seconds(trials: Sequence[TrialRecord]) -> dict[str, float]:
    stages = dict.fromkeys(stage for trial in trials for stage in trial.seconds)
    means = {}
    for stage in stages:
        values = [trial.seconds[stage] for trial in trials if stage in trial.seconds]
        means[stage] = sum(values) / len(values)
    return means
