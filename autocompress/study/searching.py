"""Run trials of a prepared study: in this process, or as one of several workers."""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import optuna
from optuna.trial import TrialState

from autocompress.config import StudyConfig, load_study
from autocompress.errors import ConfigurationError, DeviceLostError, TrialError
from autocompress.events import Event
from autocompress.search.objective import Objective
from autocompress.search.samplers import SAMPLERS, wants_flat
from autocompress.search.shipped import shipped_params
from autocompress.search.workbench import OBJECTIVES
from autocompress.study.preparation import load_batches, prepare
from autocompress.study.records import STUDY_FILE
from autocompress.study.storage import open_storage
from autocompress.training.fitting import Follower


def ignore(_: Event) -> None:
    """Hear an event and do nothing."""


def open_bench(folder: Path, *, worker: int, follower: Follower) -> tuple[optuna.Study, Objective]:
    """Open a prepared run in a worker: its study, with a sampler of its own, and the objective.

    Args:
        folder: of the run.
        worker: its number, from 1.
        follower: hears of the batches and epochs of trials.
    """
    config = load_study(folder / STUDY_FILE)
    bench = prepare(config, folder, load_batches(config), ignore, follower=follower)
    return open_study(config, folder, worker=worker), Objective(config.space(), bench)


def open_study(config: StudyConfig, folder: Path, *, worker: int = 0) -> optuna.Study:
    """Open the run's study, or create it.

    The sampler's seed derives from the study's, the worker, and the trials that are there.
    """
    storage, name = open_storage(folder), config.study.name
    fresh = name not in optuna.get_all_study_names(storage)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[*OBJECTIVES.values()],
        load_if_exists=True,
    )
    study.sampler = SAMPLERS[config.study.sampler](_seed(study, config.study.seed, worker))
    if fresh:
        with warnings.catch_warnings():  # names may still change in Optuna; nothing reads ours
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(OBJECTIVES))
    return study


def nearest_recipes(
    config: StudyConfig, recipes: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """Return the recipes that a study is to begin with, as its space can express them.

    Args:
        config: its space.
        recipes: full sets of knobs; ``None``: the shipped ones, which are not returned.

    Raises:
        ConfigurationError: a recipe asks for a name that the space does not have.
    """
    if recipes is None:
        return None
    space, found = config.space(), []
    for recipe in recipes:
        nearest = space.nearest(recipe)
        if nearest is None:
            raise ConfigurationError(f"the search space cannot express the recipe {dict(recipe)}")
        found.append(dict(nearest))
    return found


def enqueue(
    study: optuna.Study, config: StudyConfig, recipes: Sequence[Mapping[str, Any]] | None
) -> None:
    """Enqueue what a study begins with, as far as a session that was killed has not done so.

    Args:
        study: where they are tried; one in which a trial has begun is left as it is.
        config: its space.
        recipes: of ``nearest_recipes``; ``None``: the shipped ones.
    """
    there = study.get_trials(deepcopy=False)
    if any(trial.state != TrialState.WAITING for trial in there):
        return
    wanted: list[tuple[Mapping[str, Any], dict[str, Any]]] = [(r, {}) for r in recipes or ()]
    if recipes is None:
        wanted = [(params, {"shipped": name}) for name, params in shipped_params(config.space())]
    for params, facts in wanted[len(there) :]:
        study.enqueue_trial(dict(params), user_attrs=facts)


def put_back(study: optuna.Study) -> None:
    """Let trials that a dead process left running wait again; they are the next to run."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        _wait_again(study, trial._trial_id)


def _wait_again(study: optuna.Study, trial_id: int) -> None:
    """Queue a trial that was interrupted, with the knobs that it has; it keeps its number."""
    study._storage.set_trial_state_values(trial_id, TrialState.WAITING)


def bury(study: optuna.Study, worker: str, how: str) -> int:
    """Fail the trial that a dead worker left running; return how many trials it had in all.

    Such a recipe is not tried again: it would most likely kill the next process too.
    """
    trials = study.get_trials(deepcopy=False)
    own = [trial for trial in trials if trial.user_attrs.get("worker") == worker]
    for trial in own:
        if trial.state == TrialState.RUNNING:
            live = optuna.trial.Trial(study, trial._trial_id)
            live.set_user_attr("stage", "process")
            live.set_user_attr("reason", f"its process ended by {how}: out of memory, or a crash")
            study.tell(trial.number, state=TrialState.FAIL)
    return len(own)


def optimize(
    study: optuna.Study, objective: Objective, trials: int, timeout_s: float | None, worker: str
) -> None:
    """Run trials in this process, in the name of a worker.

    The follower of the bench hears between trials, as between batches. A ``KeyboardInterrupt``
    out of a trial lets it wait again.

    Raises:
        DeviceLostError: a trial broke the GPU's state; all others would fail in this process.
    """
    # SQLite has no row locks: two workers that ask at once may be given the same waiting trial.
    turn = filelock.FileLock(objective.bench.folder.parent / ".ask.lock")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    for _ in range(trials):
        if deadline is not None and time.monotonic() >= deadline:
            break
        objective.bench.follower.batch()
        with turn:
            trial = study.ask()
        trial.set_user_attr("worker", worker)
        ended = _attempt(study, objective, trial)
        objective.harvester.gather(study, ended)


def _attempt(
    study: optuna.Study, objective: Objective, trial: optuna.Trial
) -> optuna.trial.FrozenTrial:
    """Run one trial and tell the study how it ended."""
    try:
        return study.tell(trial, objective(trial))
    except optuna.TrialPruned:
        if not wants_flat(study):
            return study.tell(trial, state=TrialState.PRUNED)
        # The Gaussian process ignores pruned trials, and would propose the same one again.
        return study.tell(trial, objective.stand_in(trial))
    except TrialError as error:
        ended = study.tell(trial, state=TrialState.FAIL)
        if isinstance(error, DeviceLostError):
            raise
        return ended
    except KeyboardInterrupt:
        _wait_again(study, trial._trial_id)
        raise
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise


def _seed(study: optuna.Study, seed: int, worker: int) -> int:
    return seed + 1000 * worker + len(study.get_trials(deepcopy=False))
