"""Run trials of a prepared study: in this process, or as one of several workers."""

import time
import warnings
from pathlib import Path

import optuna

from autocompress.config import StudyConfig, load_study
from autocompress.errors import TrialError
from autocompress.events import Event, TrialDone
from autocompress.search.objective import OBJECTIVES, Objective
from autocompress.search.samplers import FLAT, SAMPLERS
from autocompress.search.shipped import shipped_params
from autocompress.search.space import Space
from autocompress.study.preparation import Listener, load_batches, prepare
from autocompress.study.records import INTERRUPTED, STUDY_FILE, Run
from autocompress.study.storage import open_storage
from autocompress.training.fitting import Follower

COUNTED = ("complete", "pruned", "failed")


def ignore(_: Event) -> None:
    """Hear an event and do nothing."""


def space_of(config: StudyConfig) -> Space:
    """Return the study's search space, flat where its sampler wants that."""
    return config.space(conditional=_sampler_name(config) not in FLAT)


def _sampler_name(config: StudyConfig) -> str:
    return "tpe" if config.study.sampler == "auto" else config.study.sampler


def open_bench(folder: Path, *, worker: int, follower: Follower) -> tuple[optuna.Study, Objective]:
    """Open a prepared run in a worker: its study, with a sampler of its own, and the objective."""
    config = load_study(folder / STUDY_FILE)
    bench = prepare(config, folder, load_batches(config), ignore, follower=follower)
    return open_study(config, folder, worker=worker), Objective(space_of(config), bench)


def open_study(config: StudyConfig, folder: Path, *, worker: int = 0) -> optuna.Study:
    """Open the run's study, or create it with the shipped recipes enqueued.

    The sampler's seed derives from the study's, the worker, and the trials that are there.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(folder)
    name, seed = config.study.name, config.study.seed + 1000 * worker
    fresh = name not in optuna.get_all_study_names(storage)
    if not fresh:
        seed += len(optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False))
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=SAMPLERS[_sampler_name(config)](seed),
        directions=[*OBJECTIVES.values()],
        load_if_exists=True,
    )
    if fresh:
        with warnings.catch_warnings():  # names may still change in Optuna; nothing reads ours
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(OBJECTIVES))
        for shipped, params in shipped_params(space_of(config)):
            study.enqueue_trial(params, user_attrs={"shipped": shipped})
    return study


def retry_interrupted(study: optuna.Study) -> None:
    """Close trials that a dead process left running, and enqueue their recipes again."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        live = optuna.trial.Trial(study, trial._trial_id)
        mark_interrupted(live)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        _try_again(study, trial.number)


def mark_interrupted(trial: optuna.Trial) -> None:
    """Write into a trial that it ended from outside, not by a fault of its own."""
    trial.set_user_attr("stage", INTERRUPTED)
    trial.set_user_attr("reason", "the run was interrupted; resume tries this recipe again")


def _try_again(study: optuna.Study, number: int) -> None:
    """Enqueue a trial's recipe, also if it was enqueued itself and ended before it had it all."""
    trial = study.get_trials(deepcopy=False)[number]
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={"retry_of": number})


def bury(study: optuna.Study, worker: str, how: str) -> int:
    """Fail the trial that a dead worker left running; return how many trials it had in all.

    Such a recipe is not tried again: it would most likely kill the next process too.
    """
    trials = study.get_trials(deepcopy=False)
    own = [trial for trial in trials if trial.user_attrs.get("worker") == worker]
    for trial in own:
        if trial.state == optuna.trial.TrialState.RUNNING:
            live = optuna.trial.Trial(study, trial._trial_id)
            live.set_user_attr("stage", "process")
            live.set_user_attr("reason", f"its process ended by {how}: out of memory, or a crash")
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return len(own)


def optimize(
    study: optuna.Study, objective: Objective, trials: int, timeout_s: float | None, worker: str
) -> None:
    """Run trials in this process, in the name of a worker.

    A ``KeyboardInterrupt`` out of a trial leaves its recipe enqueued.
    """

    def attempt(trial: optuna.Trial) -> tuple[float, float, float]:
        trial.set_user_attr("worker", worker)
        try:
            return objective(trial)
        except KeyboardInterrupt:
            mark_interrupted(trial)
            _try_again(study, trial.number)
            raise

    study.optimize(attempt, n_trials=trials, timeout=timeout_s, catch=(TrialError,))


class Watch:
    """Tells about trials that ended since it looked last, whichever process ran them."""

    def __init__(self, folder: Path, wanted: int, tell: Listener) -> None:
        self.run = Run.open(folder)
        self.wanted = wanted
        self.tell = tell
        self.start = time.perf_counter()
        self.known = {t.number for t in self.run.trials() if t.state in COUNTED}
        self.before = len(self.known)

    def look(self) -> None:
        """Tell about what ended since the last look."""
        ended = [t for t in self.run.trials() if t.state in COUNTED and t.number not in self.known]
        for record in ended:
            self.known.add(record.number)
            done = len(self.known)
            elapsed = time.perf_counter() - self.start
            best = self.run.pick("balanced").metrics if self.run.front() else {}
            self.tell(
                TrialDone(
                    number=record.number,
                    state=record.state,
                    reason=record.reason,
                    metrics=dict(record.metrics),
                    best=dict(best),
                    done=done,
                    total=self.wanted,
                    elapsed_s=elapsed,
                    eta_s=elapsed / (done - self.before) * (self.wanted - done),
                )
            )
