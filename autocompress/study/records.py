"""A run, as it lies on disk: its baseline, trials, front and picks."""

import datetime
import threading
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from autocompress.artifacts import read_json
from autocompress.config import limits_from
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.search.limits import Limits
from autocompress.study.importances import COLUMNS, importances
from autocompress.study.picks import (
    ALL,
    PICKS,
    Demands,
    Misses,
    Pick,
    choose,
    misses_of,
    undominated,
)
from autocompress.study.progress import counts_of, status_of
from autocompress.study.storage import DATABASE, open_storage
from autocompress.study.trials import ENDED, Judge, TrialRecord, record_of

FORMAT = 1  # of a run's folder
STUDY_FILE, RUN_FILE, LAST_WORD_FILE = "study.toml", "run.json", "last_word.json"
CONTROLS, SCRATCH_FILE = "controls", "from_scratch.json"
UNITS_FILE = "units.json"
WANTED = "wanted"  # attribute of a study: trials in all, ``None`` where only the time is limited
_FRONT_KEYS = (
    "accuracy",
    "latency_ms",
    "latency_ratio",
    "latency_ratio_low",
    "latency_ratio_high",
    "latency_flag",
    "parameters",
    "parameter_ratio",
    "nonzero",
    "size_bytes",
    "macs",
    "test_accuracy",
    "final_latency_ms",
    "final_latency_ratio",
    "search_latency_ms",
)


class Run:
    """A run's folder, opened for reading.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, config: dict[str, Any], header: dict[str, Any]) -> None:
        self.path = path
        self._config, self._config_stamp = config, _stamp_of(path / STUDY_FILE)
        self._header = header
        self._opened: optuna.Study | None = None
        self._stamp = ""  # of what was read last
        self._trials: list[TrialRecord] = []
        self._undominated: list[TrialRecord] = []
        self._judge: Judge | None = None  # whom they were read by
        self._lock = threading.Lock()

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
        return cls(path, _read_study(path), header)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved study file, as it is now: its ``[limits]`` may be edited.

        Raises:
            RunError: it can't be read any more.
        """
        stamp = _stamp_of(self.path / STUDY_FILE)
        if stamp != self._config_stamp:
            self._config, self._config_stamp = _read_study(self.path), stamp
        return self._config

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self._header["name"])

    @property
    def created(self) -> datetime.datetime:
        """When the run began, with its time zone."""
        return datetime.datetime.fromisoformat(self._header["created"])

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
        """Return all trials, in the order of their numbers; read again where something changed."""
        self._read()
        return list(self._trials)

    def _read(self) -> None:
        with self._lock:  # the dashboard asks from several threads
            stamp = self.stamp()
            if self._stamp == stamp:
                return
            judge = self._judge_now()
            trials = self._read_trials(judge)
            front = undominated([trial for trial in trials if trial.feasible])
            self._undominated = sorted(front, key=lambda trial: trial.metrics["latency_ms"])
            self._trials, self._judge, self._stamp = trials, judge, stamp

    def _judge_now(self) -> Judge:
        try:
            limits = limits_from(self.config.get("limits", {}))
        except ConfigurationError as error:
            raise RunError(f"{self.path / STUDY_FILE}: {error}") from error
        return Judge(
            limits=Limits(**limits.model_dump()),
            baseline_accuracy=self.baseline.get("accuracy"),
            final=self._last_word().get("trials", {}),
        )

    def _read_trials(self, judge: Judge) -> list[TrialRecord]:
        study = self._study()
        if study is None:
            return []
        known = self._trials if judge == self._judge else []
        ended = {trial.number: trial for trial in known if trial.state in ENDED}
        folder = self.path / "trials"
        found = study.get_trials(deepcopy=False)
        return [ended.get(t.number) or record_of(t, folder, judge) for t in found]

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

    def front(self, demands: Demands = ALL) -> list[TrialRecord]:
        """Return the feasible trials that no other feasible trial beats, fastest first.

        Who beats whom is told by what the search measured of all alike. Limits, demands and order
        go by the latency that counts: the last word's, of those that it was spoken on.

        Args:
            demands: leave out what does not meet them.
        """
        self._read()
        return [trial for trial in self._undominated if demands.met_by(trial.metrics)]

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
                "harvested_from": trial.harvested_from,
                "predicted_accuracy": trial.stopped.get("bound"),
                "started": trial.started,
                "finished": trial.finished,
                "stage": trial.stage,
                "reason": trial.reason,
                "recipe": trial.in_short,
            }
            for trial in self.trials()
        ]
        return pd.DataFrame(rows)

    def importances(self) -> pd.DataFrame:
        """Return which knobs matter, as :func:`autocompress.study.importances.importances`."""
        study = self._study()
        if study is None:
            return pd.DataFrame(columns=list(COLUMNS))
        return importances(study, self.objectives)

    def pick(self, how: Pick = "balanced", demands: Demands = ALL) -> TrialRecord:
        """Choose one member of the front.

        ``balanced`` takes, among the models within one point of the baseline's accuracy, the one
        with the smallest product of latency and parameter ratio; if none is, the most accurate.

        Args:
            how: ``accurate``, ``fast``, ``small`` or ``balanced``.
            demands: leave out what does not meet them.

        Raises:
            UsageError: nothing on the front meets the demands; the message gives the nearest.
        """
        if how not in PICKS:
            raise UsageError(f"unknown pick {how!r}; allowed: {', '.join(PICKS)}")
        front = self.front()
        if not front:
            raise UsageError(f"{self.path} has no finished, feasible trial to pick from")
        return choose(how, front, demands, self.baseline["accuracy"])

    def stamp(self) -> str:
        """Return a text that changes whenever something of the run may have changed."""
        names = (DATABASE, f"{DATABASE}-wal", LAST_WORD_FILE, STUDY_FILE, "baseline/metrics.json")
        files = [self.path / name for name in (*names, f"{CONTROLS}/{SCRATCH_FILE}")]
        return "-".join(map(_stamp_of, files))

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """The study's limits as bounds of metrics: ``{"latency_ms": {"most": 1.2}}``.

        Relative ones are multiplied out, so they are left out until there is a baseline.
        """
        bounds: dict[str, dict[str, float]] = {}
        baseline, given = self.baseline, self.config.get("limits", {})
        for metric, ratio in (("latency_ms", "latency_ratio"), ("parameters", "parameter_ratio")):
            if metric in given:
                bounds[metric] = {"most": given[metric]}
            elif ratio in given and baseline:
                bounds[metric] = {"most": given[ratio] * baseline[metric]}
        if "accuracy_drop" in given and baseline:
            bounds["accuracy"] = {"least": baseline["accuracy"] - given["accuracy_drop"]}
        return bounds

    @property
    def wanted(self) -> int | None:
        """Trials in all that the last session was to run; ``None``: as many as fit the time."""
        study, planned = self._study(), int(self.config["study"]["trials"])
        wanted: int | None = planned if study is None else study.user_attrs.get(WANTED, planned)
        return wanted

    def misses(self) -> Misses | None:
        """Return which limits keep trials off the front, where none keeps all of them."""
        tried = [trial for trial in self.trials() if trial.violations]
        if any(trial.feasible for trial in tried):
            return None
        return misses_of(tried, self.config.get("limits", {}))

    def status(self) -> dict[str, Any]:
        """Return trials by state, reasons of failures, the best so far, and time per stage.

        ``active`` tells whether a process is running trials now; ``eta_s`` is None where none
        is, or where only the time is limited, as is ``wanted``.
        """
        return status_of(self)

    def front_document(self, demands: Demands = ALL) -> dict[str, Any]:
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
                for trial in self.front(demands)
            ],
            "trials": counts_of(self.trials()),
        }

    def _study(self) -> optuna.Study | None:
        if self._opened is None and (self.path / DATABASE).exists():
            storage = open_storage(self.path)
            if self.name in optuna.get_all_study_names(storage):
                self._opened = optuna.load_study(study_name=self.name, storage=storage)
        return self._opened

    def _last_word(self) -> dict[str, Any]:
        path = self.path / LAST_WORD_FILE
        return dict(read_json(path)) if path.exists() else {}


def _read_study(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((path / STUDY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path / STUDY_FILE} cannot be read: {error}") from error


def _stamp_of(file: Path) -> str:
    if not file.exists():
        return "0"
    stat = file.stat()
    return f"{stat.st_mtime_ns:x}.{stat.st_size:x}"
