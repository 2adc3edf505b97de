"""The folder of a run, as release 0.1 wrote it (format 1): trials in a database of Optuna.

Only reading is possible. Stages have their names of today, and accuracies their interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.artifacts import read_json
from autocompress.errors import RunError
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.intervals import wilson
from autocompress.metrics.metric import KNOWN, LATENCY, MACS, NONZERO, PARAMETERS, SIZE
from autocompress.results import EndState, Estimates, Failure, TrialResult
from autocompress.runs import layout
from autocompress.runs.final import Final, FinalTrial
from autocompress.runs.release_0_1_files import curve_in, final_stage, stage_name, stages_in
from autocompress.runs.stored import (
    Baseline,
    Header,
    StoredTrial,
    metric_named,
)

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
        data, metrics = read_json(path), {m.name: m for m in (ACCURACY, *KNOWN.values(), TEST)}
        try:
            return Header(
                name=str(data["name"]),
                created=datetime.fromisoformat(data["created"]),
                objectives=tuple(
                    metric_named(name, metrics, str(path)) for name in data["objectives"]
                ),
                score=ACCURACY,
                metrics=metrics,
                task="classification",
                sizes={} if self._images is None else {"valid": self._images},
                fingerprint=dict(data["fingerprint"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error!r}") from error

    def baseline(self) -> Baseline:
        """Return what ``baseline/metrics.json`` holds."""
        path = self.path / METRICS
        if not path.exists():
            return Baseline()
        data = read_json(path)
        latency = data.get("latency", {})
        ratios = {f"latency_{end}": latency.get(end) for end in ("ratio_low", "ratio_high")}
        found = self._estimates({**data, **ratios, "latency_flag": latency.get("flag")})
        counted = replace(found[LATENCY.name], n=latency.get("n"))
        return Baseline(
            metrics={**found, LATENCY.name: counted},
            samples_ms=tuple(latency.get("samples_ms", ())),
        )

    def final(self) -> Final | None:
        """Return what ``last_word.json`` holds."""
        path = self.path / LAST_WORD
        if not path.exists():
            return None
        data = read_json(path)
        trials = {
            int(number): FinalTrial(
                metrics={**self._again(entry), **_on_test(entry)},
                stages=tuple(final_stage(row) for row in entry.get("stages", ())),
            )
            for number, entry in data["trials"].items()
        }
        return Final(baseline=_on_test(data["baseline"]), trials=trials)

    def trials(self) -> Sequence[StoredTrial]:
        """Return what the database holds, by number."""
        study = self._study
        found = [] if study is None else study.get_trials(deepcopy=False)
        return [self._ended.get(trial.number) or self._trial(trial) for trial in found]

    def wanted(self) -> int | None:
        """Return how many trials the last session was to run."""
        attributes = {} if self._study is None else self._study.user_attrs
        wanted: int | None = attributes["wanted"]  # a KeyError is a LookupError
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
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = self.path / DATABASE
        options = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}, "poolclass": NullPool}
        try:
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path.resolve()}", engine_kwargs=options, skip_table_creation=True
            )
            names = optuna.get_all_study_names(storage)
            name = str(read_json(self.path / layout.HEADER)["name"])
            return optuna.load_study(study_name=name, storage=storage) if name in names else None
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise RunError(f"{path} is not a study's database, or is damaged: {error}") from error

    @property
    def _images(self) -> int | None:
        """Number of validation images."""
        path = self.path / METRICS
        images: int | None = read_json(path).get("valid_images") if path.exists() else None
        return images

    def _trial(self, trial: "FrozenTrial") -> StoredTrial:
        facts, state = trial.user_attrs, trial.state.name
        parent = facts.get("harvested_from")
        ended = state in _ENDED
        made = StoredTrial(
            number=trial.number,
            params=facts.get("params", trial.params),
            recipe=facts.get("recipe", {}),
            origin=_origin(facts),
            name=facts.get("shipped"),
            parent=parent,
            started=None if parent is not None else _local(trial.datetime_start),
            finished=_local(trial.datetime_complete),
            result=self._result(trial) if ended else None,
            interrupted=state == "WAITING",
        )
        if ended:
            self._ended[trial.number] = made
        return made

    def _result(self, trial: "FrozenTrial") -> TrialResult:
        facts, state = trial.user_attrs, _ENDED[trial.state.name]
        if trial.constraints.get("unfinished", -1.0) > 0:
            state = "pruned"  # it has values because a sampler ignored trials without
        name = facts.get("folder", f"{trial.number:05d}")
        folder = layout.trial_folder(self.path, name)
        seconds = {stage_name(stage): spent for stage, spent in facts.get("seconds", {}).items()}
        return TrialResult(
            state=state,
            recipe=facts.get("recipe", {}),
            metrics=self._estimates(facts.get("metrics", {})),
            curve=curve_in(folder / layout.CURVE),
            stages=stages_in(folder / layout.STAGES, seconds),
            seconds=seconds,
            failure=_failure(facts) if state != "complete" else None,
            folder=name if folder.is_dir() else None,
            sha256=facts.get("sha256"),
            threads=facts.get("threads"),
        )

    def _estimates(self, flat: Mapping[str, Any]) -> Estimates:
        """Return estimates from metrics as release 0.1 wrote them: flat, with ratios."""
        found: dict[str, Estimate] = {}
        if "accuracy" in flat:
            value, images = flat["accuracy"], self._images
            low, high = (None, None) if not images else wilson(value, images)
            found["accuracy"] = Estimate(value=value, low=low, high=high, n=images)
        if LATENCY.name in flat:
            found[LATENCY.name] = _latency(flat)
        for metric in (PARAMETERS, NONZERO, SIZE):
            if metric.name in flat:
                found[metric.name] = Estimate(value=flat[metric.name])
        if MACS.name in flat:
            left = flat.get("macs_uncounted")
            flag = f"not counted: {', '.join(left)}" if left else None
            found[MACS.name] = Estimate(value=flat[MACS.name], flag=flag)
        return found

    def _again(self, entry: Mapping[str, Any]) -> Estimates:
        """Return what was measured again."""
        names = {n.removeprefix("final_"): v for n, v in entry.items() if n.startswith("final_")}
        return self._estimates(names)


def _origin(facts: Mapping[str, Any]) -> str:
    if "harvested_from" in facts:
        return "derived"
    return "initial" if "shipped" in facts else "sampler"


def _local(time: datetime | None) -> datetime | None:
    """Return a time with its zone: Optuna notes local times."""
    return None if time is None else time.astimezone()


def _latency(flat: Mapping[str, Any]) -> Estimate:
    value = flat["latency_ms"]
    reference = value / flat.get("latency_ratio", 1.0)
    low, high = (
        None if ratio is None else ratio * reference
        for ratio in (flat.get("latency_ratio_low"), flat.get("latency_ratio_high"))
    )
    return Estimate(value=value, low=low, high=high, flag=flat.get("latency_flag"))


def _on_test(entry: Mapping[str, Any]) -> Estimates:
    return {TEST.name: Estimate(value=entry[TEST.name])} if TEST.name in entry else {}


def _failure(facts: Mapping[str, Any]) -> Failure | None:
    stopped = facts.get("stopped", {})
    if "reason" not in facts and not stopped:
        return None
    return Failure(
        stage=stage_name(facts.get("stage") or ""),
        reason=facts.get("reason", ""),
        traceback=facts.get("traceback"),
        bound=stopped.get("bound"),
        dominated_by=stopped.get("dominated_by"),
        epoch=stopped.get("epoch"),
    )
