"""Run a study, resume it, check it."""

import datetime
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from autocompress.artifacts import digest_of, read_json, write_bytes, write_json
from autocompress.config import StudyConfig, load_study, to_toml
from autocompress.errors import AutocompressError, RunError, TrialError
from autocompress.events import Event, Finished, Message, Started, TrialDone
from autocompress.measurement.fingerprint import differences, fingerprint
from autocompress.search.objective import OBJECTIVES, Objective, Workbench
from autocompress.search.samplers import FLAT, SAMPLERS
from autocompress.search.shipped import shipped_params
from autocompress.search.space import Space
from autocompress.study.last_word import last_word
from autocompress.study.preparation import (
    Listener,
    build_model,
    check_batch,
    data_digest,
    latency_settings,
    load_batches,
    prepare,
    removable_units,
)
from autocompress.study.records import FORMAT, INTERRUPTED, RUN_FILE, STUDY_FILE, Run
from autocompress.study.storage import only_writer, open_storage
from autocompress.training.batches import Batches

COUNTED = ("complete", "pruned", "failed")


def ignore(_: Event) -> None:
    """Hear an event and do nothing."""


def run(
    study: StudyConfig | str | Path,
    *,
    directory: Path = Path("runs"),
    trials: int | None = None,
    timeout_s: float | None = None,
    progress: Listener = ignore,
) -> Run:
    """Run a study from the start.

    Args:
        study: the study, or the file where it stands.
        directory: where the run's folder, named like the study, is made.
        trials: number of trials, instead of the study's.
        timeout_s: seconds after which no new trial starts, instead of the study's.
        progress: hears what happens.

    Returns:
        the finished run.

    Raises:
        RunError: there is a run of this name already.
        ConfigurationError: data or model do not exist or do not fit.
    """
    config = study if isinstance(study, StudyConfig) else load_study(study)
    folder = directory / config.study.name
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"{folder} exists; go on with it by `autocompress resume {folder}`, or give this run "
            "another name by `--set study.name=NAME`"
        )
    batches = load_batches(config)
    check_batch(build_model(config.model, batches.splits, seed=config.study.seed), batches)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / STUDY_FILE, to_toml(config).encode())
    write_json(folder / RUN_FILE, _header(config, batches))
    with only_writer(folder):
        return _search(config, folder, batches, trials, timeout_s, progress)


def resume(
    path: str | Path,
    *,
    trials: int | None = None,
    timeout_s: float | None = None,
    progress: Listener = ignore,
) -> Run:
    """Go on with an interrupted or finished run, until it has the wanted number of trials.

    Trials that were interrupted are tried again with the same recipe.

    Args:
        path: the run's folder.
        trials: total number of trials, instead of the study's.
        timeout_s: seconds after which no new trial starts, instead of the study's.
        progress: hears what happens.

    Raises:
        RunError: the folder is not a run, or its space, objectives, data, model or hardware
            changed since the run began.
    """
    old = Run.open(path)
    config = load_study(old.path / STUDY_FILE)
    batches = load_batches(config)
    _refuse_changes(old, config, batches)
    with only_writer(old.path):
        return _search(config, old.path, batches, trials, timeout_s, progress)


def check(config: StudyConfig) -> dict[str, Any]:
    """Validate a study against its data and model, without training: ``autocompress plan``.

    Returns:
        plain data: the space, the splits' sizes, the model's parameters, its units, and those
        that cannot be removed, with reasons.
    """
    from autocompress.measurement.size import count_parameters

    batches = load_batches(config)
    model = build_model(config.model, batches.splits, seed=config.study.seed)
    model.to(batches.device)
    shape = check_batch(model, batches)
    units = removable_units(model, batches, config)
    splits = batches.splits
    return {
        "study": config.study.name,
        "trials": config.study.trials,
        "data": {
            "source": config.data.source,
            "classes": list(splits.classes),
            "images": [splits.channels, splits.image_size, splits.image_size],
            **{name: len(getattr(splits, name).labels) for name in ("train", "valid", "test")},
        },
        "model": {
            "factory": config.model.factory,
            "parameters": count_parameters(model),
            "output_shape": list(shape),
        },
        "units": [
            {"layer": g.name, "kind": g.kind, "units": g.size, "not_removable": list(g.reasons)}
            for g in units.groups
        ],
        "fixed": dict(units.fixed),
        "space": {name: repr(d) for name, d in space_of(config).dimensions.items()},
        "device": str(batches.device),
    }


def space_of(config: StudyConfig) -> Space:
    """Return the study's search space, flat where its sampler wants that."""
    return config.space(conditional=_sampler_name(config) not in FLAT)


def _sampler_name(config: StudyConfig) -> str:
    return "tpe" if config.study.sampler == "auto" else config.study.sampler


def _header(config: StudyConfig, batches: Batches) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": config.study.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "objectives": dict(OBJECTIVES),
        "fingerprint": fingerprint(latency_settings(config)),
        "digests": _digests(config, batches),
    }


def _digests(config: StudyConfig, batches: Batches) -> dict[str, str]:
    """Return what must not change while a run is resumed."""
    sections = config.model_dump(mode="json")
    frozen = {
        name: digest_of(sections[name]) for name in ("search", "model", "training", "latency")
    }
    return {
        **frozen,
        "teacher": digest_of(sections["teacher"]),
        "data": data_digest(batches.splits),
    }


def _refuse_changes(old: Run, config: StudyConfig, batches: Batches) -> None:
    header = read_json(old.path / RUN_FILE)
    now = _digests(config, batches)
    changed = [name for name, digest in header["digests"].items() if now[name] != digest]
    if header["objectives"] != dict(OBJECTIVES):
        changed.append("objectives")
    if changed:
        raise RunError(
            f"{old.path}: {', '.join(changed)} changed since this run began, so that old and new "
            f"trials could not be compared; undo the change in {STUDY_FILE} or the data, or "
            "start a new run"
        )
    moved = differences(old.fingerprint, fingerprint(latency_settings(config)))
    if moved:
        raise RunError(
            f"{old.path}: its latencies were measured on other hardware or software "
            f"({'; '.join(moved)}); start a new run here"
        )


def _search(
    config: StudyConfig,
    folder: Path,
    batches: Batches,
    trials: int | None,
    timeout_s: float | None,
    tell: Listener,
) -> Run:
    wanted = config.study.trials if trials is None else trials
    timeout_s = config.study.timeout_s if timeout_s is None else timeout_s
    space = space_of(config)
    try:
        study = _open_study(config, folder, space)
        _retry_interrupted(study)
        old = Run.open(folder)
        done = sum(t.state in COUNTED for t in old.trials())
        tell(Started(config.study.name, str(folder), wanted, done))
        bench = prepare(config, folder, batches, tell)
        if wanted > done:
            report = _reporter(folder, wanted, tell)
            _optimize(study, Objective(space, bench), wanted - done, timeout_s, report)
            (folder / "last_word.json").unlink(missing_ok=True)
        return _finish(folder, config, bench, tell)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise AutocompressError(
            f"{folder / 'study.db'} could not be written ({error}); nothing that was finished is "
            f"lost: make room, then go on by `autocompress resume {folder}`"
        ) from error


def _open_study(config: StudyConfig, folder: Path, space: Space) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(folder)
    seed = config.study.seed
    known = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    fresh = config.study.name not in known
    offset = 0
    if not fresh:
        study = optuna.load_study(study_name=config.study.name, storage=storage)
        offset = len(study.get_trials(deepcopy=False))
    sampler = SAMPLERS[_sampler_name(config)](seed + offset)
    study = optuna.create_study(
        study_name=config.study.name,
        storage=storage,
        sampler=sampler,
        directions=list(OBJECTIVES.values()),
        load_if_exists=True,
    )
    if fresh:
        study.set_metric_names(list(OBJECTIVES))
        for name, params in shipped_params(space):
            study.enqueue_trial(params, user_attrs={"shipped": name})
    return study


def _retry_interrupted(study: optuna.Study) -> None:
    """Close trials that a dead process left running, and enqueue their recipes again."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        live = optuna.trial.Trial(study, trial._trial_id)
        mark_interrupted(live)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})


def mark_interrupted(trial: optuna.Trial) -> None:
    """Write into a trial that it ended from outside, not by a fault of its own."""
    trial.set_user_attr("stage", INTERRUPTED)
    trial.set_user_attr("reason", "the run was interrupted; resume tries this recipe again")


def _optimize(
    study: optuna.Study,
    objective: Objective,
    count: int,
    timeout_s: float | None,
    report: Callable[[optuna.Study, optuna.trial.FrozenTrial], None],
) -> None:
    def attempt(trial: optuna.Trial) -> tuple[float, float, float]:
        try:
            return objective(trial)
        except KeyboardInterrupt:
            mark_interrupted(trial)
            study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})
            raise

    study.optimize(
        attempt, n_trials=count, timeout=timeout_s, catch=(TrialError,), callbacks=[report]
    )


def _reporter(
    folder: Path, wanted: int, tell: Listener
) -> Callable[[optuna.Study, optuna.trial.FrozenTrial], None]:
    start, count = time.perf_counter(), 0

    def report(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal count
        count += 1
        current = Run.open(folder)
        record = current.trial(trial.number)
        done = sum(t.state in COUNTED for t in current.trials())
        elapsed = time.perf_counter() - start
        best: Mapping[str, Any] = current.pick("balanced").metrics if current.front() else {}
        tell(
            TrialDone(
                number=record.number,
                state=record.state,
                reason=record.reason,
                metrics=dict(record.metrics),
                best=dict(best),
                done=done,
                total=wanted,
                elapsed_s=elapsed,
                eta_s=elapsed / count * (wanted - done),
            )
        )

    return report


def _finish(folder: Path, config: StudyConfig, bench: Workbench, tell: Listener) -> Run:
    finished = Run.open(folder)
    if not finished.finished and finished.front():
        tell(Message("the last word: measuring the front again, and opening it on test"))
        write_json(folder / "last_word.json", last_word(finished, config, bench, tell))
    tell(Finished(str(folder), finished.front_document()))
    return finished
