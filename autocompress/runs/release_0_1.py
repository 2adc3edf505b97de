"""The folder of a run, as release 0.1 wrote it (format 1): trials in a database of Optuna.

Only reading is possible. Stages have their names of today, and accuracies their interval.
"""

import functools
import sqlite3
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.documents import read_json, typed
from autocompress.errors import RunError
from autocompress.metrics import Metric
from autocompress.metrics.intervals import wilson
from autocompress.metrics.metric import KNOWN, LATENCY, MACS, NONZERO, PARAMETERS, SIZE
from autocompress.results import EndState, TrialResult
from autocompress.runs import layout
from autocompress.runs.final import Final
from autocompress.runs.header import Header, HeaderDocument
from autocompress.runs.release_0_1_files import (
    adapting,
    curve_in,
    final_stage,
    stage_name,
    stages_in,
)
from autocompress.runs.stored import Baseline, StoredTrial
from autocompress.sentences import one_line, shown

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DATABASE, METRICS, LAST_WORD = "study.db", "baseline/metrics.json", "last_word.json"
ACCURACY = Metric(
    name="accuracy",
    direction="maximize",
    format="fraction",
    comparison="difference",
    pick="accurate",
)
TEST = replace(
    ACCURACY,
    name="test_accuracy",
    title="accuracy on test",
    pick="test_accuracy",
    ratio_name="test_accuracy_ratio",
    drop_name="test_accuracy_drop",
)
_BUSY_TIMEOUT_S = 60
_ENDED: Mapping[str, EndState] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Release01:
    """Reads a run of release 0.1.

    Args:
        path: the folder.
    """

    files = (DATABASE, f"{DATABASE}-wal", LAST_WORD, METRICS)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ended: dict[int, StoredTrial] = {}
        self._opened: optuna.Study | None = None

    def header(self) -> Header:
        """Return what ``run.json`` holds; it had no descriptions of metrics."""
        path = self.path / layout.HEADER
        data, metrics = read_json(path), (ACCURACY, *KNOWN.values(), TEST)
        with adapting(str(path)):
            document = {
                **data,
                "objectives": list(data["objectives"]),
                "score": ACCURACY.name,
                "metrics": [metric.to_dict() for metric in metrics],
                "task": "classification",
                "sizes": {} if self._images is None else {"valid": self._images},
            }
        return typed(HeaderDocument, document, f"{path} is damaged").header(str(path))

    def baseline(self) -> Baseline:
        """Return what ``baseline/metrics.json`` holds."""
        path = self.path / METRICS
        if not path.exists():
            return Baseline()
        data = read_json(path)
        with adapting(str(path)):
            latency = data.get("latency", {})
            ratios = {f"latency_{end}": latency.get(end) for end in ("ratio_low", "ratio_high")}
            found = self._estimates({**data, **ratios, "latency_flag": latency.get("flag")})
            found[LATENCY.name]["n"] = latency.get("n")
            document = {"metrics": found, "samples_ms": latency.get("samples_ms", [])}
        return typed(Baseline, document, f"{path} is damaged", needs=("metrics",))

    def final(self) -> Final | None:
        """Return what ``last_word.json`` holds."""
        path = self.path / LAST_WORD
        if not path.exists():
            return None
        data = read_json(path)
        with adapting(str(path)):
            trials: dict[str, dict[str, Any]] = {
                number: {
                    "metrics": {**self._again(entry), **_on_test(entry)},
                    "stages": [final_stage(row) for row in entry.get("stages", ())],
                }
                for number, entry in data["trials"].items()
            }
            document = {"baseline": _on_test(data["baseline"]), "trials": trials}
        return typed(Final, document, f"{path} is damaged")

    def trials(self) -> Sequence[StoredTrial]:
        """Return what the database holds, by number."""
        study = self._study
        try:
            found = [] if study is None else study.get_trials(deepcopy=False)
        except _database_errors() as error:
            raise self._damaged(error) from error
        return [self._ended.get(trial.number) or self._trial(trial) for trial in found]

    def damages(self) -> tuple[str, ...]:
        """Return nothing: release 0.1 noted no more than the digests of trials."""
        return ()

    def wanted(self) -> int | None:
        """Return how many trials the last session was to run."""
        attributes = {} if self._study is None else self._study.user_attrs
        wanted: int | None = attributes["wanted"]  # a KeyError is a LookupError
        if wanted is not None and not isinstance(wanted, int):
            raise RunError(f"{self.path / DATABASE} is damaged: wanted: {shown(wanted)}")
        return wanted

    def frozen(self, search: Mapping[str, Any]) -> "list[FrozenTrial]":
        """Return complete trials that were proposed, as the database holds them."""
        import optuna

        states = (optuna.trial.TrialState.COMPLETE,)
        found = (
            [] if self._study is None else self._study.get_trials(deepcopy=False, states=states)
        )
        return [trial for trial in found if "harvested_from" not in trial.user_attrs]

    @property
    def _study(self) -> "optuna.Study | None":
        if self._opened is None and (self.path / DATABASE).exists():
            self._opened = self._open()
        return self._opened

    def _open(self) -> "optuna.Study | None":
        import optuna
        from sqlalchemy.pool import NullPool

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = self.path / DATABASE
        options = {"creator": functools.partial(_connection, path), "poolclass": NullPool}
        try:
            storage = optuna.storages.RDBStorage(
                "sqlite://", engine_kwargs=options, skip_table_creation=True
            )
            names = optuna.get_all_study_names(storage)
            name = self.header().name
            return optuna.load_study(study_name=name, storage=storage) if name in names else None
        except _database_errors() as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RunError:
        path = self.path / DATABASE
        return RunError(
            one_line(f"{path} is not a study's database, or is damaged: {str(error)[:300]}")
        )

    @property
    def _images(self) -> int | None:
        """Number of validation images."""
        path = self.path / METRICS
        data = read_json(path) if path.exists() else {}
        images = data.get("valid_images") if isinstance(data, dict) else None
        return images if isinstance(images, int) and images > 0 else None

    def _trial(self, trial: "FrozenTrial") -> StoredTrial:
        facts, state = trial.user_attrs, trial.state.name
        parent = facts.get("harvested_from")
        ended, where = state in _ENDED, f"{self.path / DATABASE}, trial {trial.number},"
        document = {
            "number": trial.number,
            "params": facts.get("params", trial.params),
            "recipe": facts.get("recipe", {}),
            "origin": _origin(facts),
            "name": facts.get("shipped"),
            "parent": parent,
            "interrupted": state == "WAITING",
        }
        made = replace(
            typed(StoredTrial, document, f"{where} is damaged"),
            started=None if parent is not None else _local(trial.datetime_start),
            finished=_local(trial.datetime_complete),
            result=self._result(trial, where) if ended else None,
        )
        if ended:
            self._ended[trial.number] = made
        return made

    def _result(self, trial: "FrozenTrial", where: str) -> TrialResult:
        facts, state = trial.user_attrs, _ENDED[trial.state.name]
        if trial.constraints.get("unfinished", -1.0) > 0:
            state = "pruned"  # it has values because a sampler ignored trials without
        with adapting(where):
            document = {
                "state": state,
                "recipe": facts.get("recipe", {}),
                "metrics": self._estimates(facts.get("metrics", {})),
                "seconds": {stage_name(n): spent for n, spent in facts.get("seconds", {}).items()},
                "failure": _failure(facts) if state != "complete" else None,
                "folder": facts.get("folder", f"{trial.number:05d}"),
                "sha256": facts.get("sha256"),
                "threads": facts.get("threads"),
            }
        result = typed(TrialResult, document, f"{where} is damaged")
        folder = layout.trial_folder(self.path, str(result.folder))
        return replace(
            result,
            curve=curve_in(folder / layout.CURVE),
            stages=stages_in(folder / layout.STAGES, result.seconds),
            folder=result.folder if folder.is_dir() else None,
        )

    def _estimates(self, flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return estimates from metrics as release 0.1 wrote them: flat, with ratios."""
        found: dict[str, dict[str, Any]] = {}
        if "accuracy" in flat:
            value, images = flat["accuracy"], self._images
            low, high = (None, None) if not images else wilson(value, images)
            found["accuracy"] = {"value": value, "low": low, "high": high, "n": images}
        if LATENCY.name in flat:
            found[LATENCY.name] = _latency(flat)
        for metric in (PARAMETERS, NONZERO, SIZE):
            if metric.name in flat:
                found[metric.name] = {"value": flat[metric.name]}
        if MACS.name in flat:
            left = flat.get("macs_uncounted")
            flag = f"not counted: {', '.join(left)}" if left else None
            found[MACS.name] = {"value": flat[MACS.name], "flag": flag}
        return found

    def _again(self, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what was measured again."""
        names = {n.removeprefix("final_"): v for n, v in entry.items() if n.startswith("final_")}
        return self._estimates(names)


def _database_errors() -> tuple[type[Exception], ...]:
    """Return what Optuna raises on a database that is damaged, in whatever place."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    ours = (SQLAlchemyError, optuna.exceptions.OptunaError)
    return (*ours, RuntimeError, LookupError, TypeError, ValueError, AssertionError)


def _connection(path: Path) -> sqlite3.Connection:
    """Open a database for reading, whatever characters its path has, on any disk.

    Where no process has left a log to be read too, the database is taken as it is: on a disk that
    can only be read SQLite could not make the files that it shares with writers.
    """
    log = path.with_name(f"{path.name}-wal")
    kind = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    name = urllib.parse.quote(str(path.resolve()))
    return sqlite3.connect(f"file:{name}?{kind}", uri=True, timeout=_BUSY_TIMEOUT_S)


def _origin(facts: Mapping[str, Any]) -> str:
    if "harvested_from" in facts:
        return "derived"
    return "initial" if "shipped" in facts else "sampler"


def _local(time: datetime | None) -> datetime | None:
    """Return a time with its zone: Optuna notes local times."""
    return None if time is None else time.astimezone()


def _latency(flat: Mapping[str, Any]) -> dict[str, Any]:
    value = flat["latency_ms"]
    reference = value / flat.get("latency_ratio", 1.0)
    low, high = (
        None if ratio is None else ratio * reference
        for ratio in (flat.get("latency_ratio_low"), flat.get("latency_ratio_high"))
    )
    return {"value": value, "low": low, "high": high, "flag": flat.get("latency_flag")}


def _on_test(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {TEST.name: {"value": entry[TEST.name]}} if TEST.name in entry else {}


def _failure(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    stopped = facts.get("stopped", {})
    if "reason" not in facts and not stopped:
        return None
    return {
        "stage": stage_name(facts.get("stage") or ""),
        "reason": facts.get("reason", ""),
        "traceback": facts.get("traceback"),
        **{name: stopped.get(name) for name in ("bound", "dominated_by", "epoch")},
    }
