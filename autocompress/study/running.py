"""Run a study, resume it, check it."""

import datetime
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autocompress.artifacts import digest_of, read_json, write_folder
from autocompress.config import StudyConfig, load_study, to_toml
from autocompress.errors import RunError
from autocompress.events import Finished, Started
from autocompress.graph import find_units
from autocompress.measurement.fingerprint import differences, fingerprint
from autocompress.measurement.size import count_parameters
from autocompress.search.workbench import OBJECTIVES, Workbench
from autocompress.study.budget import Amount, Budget
from autocompress.study.last_word import speak_last_words
from autocompress.study.preparation import (
    Listener,
    build_model,
    check_batch,
    data_digest,
    latency_settings,
    load_batches,
    prepare,
    unit_facts,
)
from autocompress.study.records import (
    FORMAT,
    LAST_WORD_FILE,
    RUN_FILE,
    STUDY_FILE,
    WANTED,
    Run,
)
from autocompress.study.searching import (
    bury,
    enqueue,
    ignore,
    nearest_recipes,
    open_study,
    put_back,
)
from autocompress.study.storage import only_writer, telling_of_full_disks
from autocompress.study.watching import Watch
from autocompress.study.workers import Crew
from autocompress.training.batches import Batches

FROZEN_DATA = ("mean", "std", "batch_size", "augmentation")  # keys of [data], besides its content
ASKED = "asked"  # attribute of a study: the trials that a session was last asked for


def run(
    study: StudyConfig | str | Path,
    *,
    directory: Path = Path("runs"),
    trials: int | None = None,
    timeout_s: float | None = None,
    workers: int = 1,
    recipes: Sequence[Mapping[str, Any]] | None = None,
    progress: Listener = ignore,
) -> Run:
    """Run a study from the start.

    Args:
        study: the study, or the file where it stands.
        directory: where the run's folder, named like the study, is made.
        trials: number of trials, instead of the study's.
        timeout_s: seconds after which no new trial starts, instead of the study's.
        workers: processes that run trials at the same time, each with its share of the cores.
        recipes: knobs of recipes to begin with, instead of those that are shipped; numbers are
            moved to the nearest that the space allows.
        progress: hears what happens.

    Returns:
        the finished run.

    Raises:
        RunError: there is a run of this name already.
        ConfigurationError: data or model do not exist or do not fit, or this machine cannot
            measure as the study wants.
    """
    amount = Amount(trials=trials, timeout_s=timeout_s, workers=workers)
    config = study if isinstance(study, StudyConfig) else load_study(study)
    folder = directory / config.study.name
    _refuse_existing(folder)
    latency_settings(config).require()
    batches = load_batches(config)
    check_batch(build_model(config.model, batches.splits, seed=config.study.seed), batches)
    header = {**_header(config, batches), "recipes": nearest_recipes(config, recipes)}
    contents = {STUDY_FILE: to_toml(config).encode(), RUN_FILE: header}
    write_folder(folder, contents, replace=False)  # at once: what fails before leaves nothing
    with only_writer(folder):
        return _search(config, folder, batches, amount, progress)


def resume(
    path: str | Path,
    *,
    trials: int | None = None,
    timeout_s: float | None = None,
    workers: int = 1,
    progress: Listener = ignore,
) -> Run:
    """Go on with an interrupted or finished run, until it has the wanted number of trials.

    Trials that were interrupted come first, with the same recipe.

    Args:
        path: the run's folder.
        trials: total number of trials, instead of what the last session was asked for, or else
            the study's.
        timeout_s: seconds after which no new trial starts, instead of the study's.
        workers: processes that run trials at the same time, each with its share of the cores.
        progress: hears what happens.

    Raises:
        RunError: the folder is not a run, or its space, objectives, data, model or hardware
            changed since the run began.
    """
    amount = Amount(trials=trials, timeout_s=timeout_s, workers=workers)
    old = Run.open(path)
    config = load_study(old.path / STUDY_FILE)
    batches = load_batches(config)
    _refuse_changes(old, config, batches)
    with only_writer(old.path):
        return _search(config, old.path, batches, amount, progress)


def check(config: StudyConfig) -> dict[str, Any]:
    """Validate a study against its data and model, without training: ``autocompress plan``.

    Returns:
        plain data: the space, the splits' sizes, the model's parameters, its units, and those
        that cannot be removed, with reasons.

    Raises:
        ConfigurationError: data or model do not exist or do not fit, or this machine cannot
            measure as the study wants.
    """
    latency_settings(config).require()
    batches = load_batches(config)
    model = build_model(config.model, batches.splits, seed=config.study.seed)
    model.to(batches.device)
    shape = check_batch(model, batches)
    units = find_units(model, batches.example[:2])
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
        **unit_facts(units),
        "space": {name: repr(d) for name, d in config.space().dimensions.items()},
        "device": str(batches.device),
    }


def _refuse_existing(folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    other = "give this run another name by `--set study.name=NAME`"
    if not (folder / RUN_FILE).exists():
        raise RunError(f"{folder} exists and is not a run: move it away, or {other}")
    raise RunError(f"{folder} exists; go on with it by `autocompress resume {folder}`, or {other}")


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
    """Return what must not change while a run is resumed; ``[limits]`` may.

    Of the data it is the content that counts, wherever it lies.
    """
    sections = config.model_dump(mode="json")
    frozen = {
        name: sections[name] for name in ("search", "model", "teacher", "training", "latency")
    }
    frozen |= {f"data.{key}": sections["data"][key] for key in FROZEN_DATA}
    frozen["study.seed"] = config.study.seed
    digests = {name: digest_of(value) for name, value in frozen.items()}
    return {**digests, "data": data_digest(batches.splits)}


def _refuse_changes(old: Run, config: StudyConfig, batches: Batches) -> None:
    header = read_json(old.path / RUN_FILE)
    now = _digests(config, batches)
    changed = [name for name, digest in header["digests"].items() if now.get(name) != digest]
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
    config: StudyConfig, folder: Path, batches: Batches, amount: Amount, tell: Listener
) -> Run:
    timeout_s = config.study.timeout_s if amount.timeout_s is None else amount.timeout_s
    trials = amount.trials
    with telling_of_full_disks(folder):
        study = open_study(config, folder)
        if trials is None and amount.timeout_s is None:  # else as many as fit into the time
            trials = study.user_attrs.get(ASKED, config.study.trials)
        if amount.trials is not None:
            study.set_user_attr(ASKED, amount.trials)
        study.set_user_attr(WANTED, trials)
        enqueue(study, config, read_json(folder / RUN_FILE).get("recipes"))
        put_back(study)
        done = sum(trial.counts for trial in Run.open(folder).trials())
        tell(Started(config.study.name, str(folder), trials, done))
        bench = prepare(config, folder, batches, tell)
        budget = Budget(trials, timeout_s, amount.workers, done)
        if budget.trials > done:
            (folder / LAST_WORD_FILE).unlink(missing_ok=True)
            crew = Crew(folder, amount.workers, timeout_s, functools.partial(bury, study))
            shorten = not {"epochs", "recovery_epochs"} <= config.search.knobs.keys()
            watch = Watch(study, folder, budget, tell, shorten=shorten)
            crew.run(budget.trials - done, watch.look)
        return _finish(folder, config, bench, tell)


def _finish(folder: Path, config: StudyConfig, bench: Workbench, tell: Listener) -> Run:
    finished = Run.open(folder)
    speak_last_words(finished, config, bench, tell)
    tell(Finished(str(folder), finished.front_document()))
    return finished
