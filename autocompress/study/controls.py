"""Ablation baselines: what the search is worth beside chance, and pruning beside new training."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import nn

from autocompress.artifacts import write_json
from autocompress.config import StudyConfig, load_study, study_from
from autocompress.context import Context, prepare
from autocompress.errors import RunError
from autocompress.events import Message, Progress, ignore
from autocompress.execution import Executor
from autocompress.graph import Plan, rebuild
from autocompress.graph.plan import Fold
from autocompress.problem import problem_from
from autocompress.results import EpochRecord
from autocompress.runs import Run, layout
from autocompress.runs.opening import require_trusted
from autocompress.runs.records import TrialRecord
from autocompress.runs.store import intact, read_plan
from autocompress.runs.stored import FromScratch, training_of
from autocompress.space.parameters import path_of
from autocompress.study.budget import Amount
from autocompress.study.run import resume_run, run_study
from autocompress.targets import within_usable_cores
from autocompress.techniques.folding import Folding, fold_batch_norms
from autocompress.training.fitting import Fit, fit, seed_everything
from autocompress.trial import TRAINING_STAGES


def run_controls(
    done: Run,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = ignore,
) -> None:
    """Run what a finished run is to be compared with, into its folder ``controls``.

    - ``random``: random recipes for as long as the search took; a run of its own.
    - ``random_criterion``: the front's recipes, with units chosen at random; a run of its own.
    - ``from_scratch.json``: the architecture of the smallest model on the front, with fresh
      weights, trained for as long as that model and its baseline were.

    What is there already is left as it is, or gone on with where it was interrupted.

    Args:
        done: a run with a front.
        workers: as for the search.
        executor: as for ``run_study``.
        progress: receives what happens.

    Raises:
        RunError: the front is empty.
        UntrustedError: the study names functions that this user has neither run nor allowed.
    """
    require_trusted(done.path, done.config)
    front = [trial for trial in done.front() if trial.parent is None]
    if not front:
        raise RunError(f"{done.path} has no front that controls could be compared with")
    config = load_study(done.path / layout.STUDY)
    shared: dict[str, Any] = {"executor": executor, "progress": progress}
    home = done.path / layout.CONTROLS
    random, spent_s = home / "random", _spent_seconds(done, workers)
    epochs = _epochs(front[-1], config)
    chance = _changed(config, done.path, {"name": "random", "sampler": "random"}, epochs)
    if not _finished(random):
        left_s = spent_s - (_spent_seconds(Run.open(random), workers) if _begun(random) else 0.0)
        progress(Message(f"control: random recipes for {max(0.0, left_s):.0f} s"))
        _run(chance, home, Amount(timeout_s=max(0.0, left_s), workers=workers), None, shared)
    off = {"estimate": False, "early_stopping": False, "derive": False}
    study = {"name": "random_criterion", "trials": len(front), **off}
    unguided = _changed(config, done.path, study, {"criterion": "random", **epochs})
    if not _finished(home / "random_criterion"):
        recipes = [trial.params for trial in front]
        progress(Message("control: the front's recipes, with units chosen at random"))
        _run(unguided, home, Amount(workers=workers), recipes, shared)
    if not (home / layout.SCRATCH).exists():
        smallest = min(front, key=lambda trial: trial.metrics["parameters"].value)
        progress(Message(f"control: the architecture of trial {smallest.number} from scratch"))
        with closing(prepare(problem_from(config), done.path, ignore)) as context:
            scratch = from_scratch(smallest, context, done.path)
        write_json(home / layout.SCRATCH, scratch.to_dict())


@within_usable_cores()
def from_scratch(trial: TrialRecord, context: Context, folder: Path) -> FromScratch:
    """Train a trial's architecture from fresh weights, for the time that the trial had.

    That is its own training and, where the study trained the baseline, the baseline's too. Batch
    norms are folded after training, as in the trial.

    Args:
        trial: complete.
        context: what the study's trials share.
        folder: of the run.
    """
    budget_s = sum(trial.seconds.get(stage, 0.0) for stage in TRAINING_STAGES)
    budget_s += _training_seconds(folder)
    model, folds = _fresh(trial, context)
    seconds, _ = _train(_fresh(trial, context)[0], context, 1)
    epochs = max(1, round(budget_s / seconds))
    seconds, curve = _train(model, context, epochs)
    if folds:
        model, _ = fold_batch_norms(model, Folding(), example=context.problem.data.example)
    evaluation = context.evaluator(model.eval(), trial.precision)
    return FromScratch(
        trial=trial.number,
        budget_s=budget_s,
        seconds=seconds,
        epochs=epochs,
        metrics=evaluation.metrics,
        curve=curve,
    )


def _changed(
    config: StudyConfig, folder: Path, study: Mapping[str, Any], search: Mapping[str, Any]
) -> StudyConfig:
    """Return the study with other settings, on the baseline and teacher that the run has."""
    data = config.to_dict()
    data["study"] = {**data["study"], **study}
    replaced = set(map(path_of, search))
    kept = {n: v for n, v in data["search"].items() if path_of(n) not in replaced}
    data["search"] = {**kept, **search}
    data["study"].pop("timeout", None)
    for section, home in (("model", layout.BASELINE), ("teacher", layout.TEACHER)):
        if section in data:
            weights = (folder / home / layout.WEIGHTS).resolve()
            data[section] |= {"weights": str(weights), "epochs": 0}
    return study_from(data)


def _epochs(trial: TrialRecord, config: StudyConfig) -> dict[str, int]:
    """Return the epochs of the run's trials as constants, so that a control plans none itself."""
    paths = {f"training.{name}": name for name in ("epochs", "recovery_epochs")}
    missing = {path: name for path, name in paths.items() if path not in config.search.paths}
    return {path: trial.recipe["training"][name] for path, name in missing.items()}


def _spent_seconds(done: Run, workers: int) -> float:
    """Return how long the search took, its start included, but not the baseline's training."""
    trials = [trial for trial in done.trials() if trial.counts]
    if not trials:
        return 0.0  # it was interrupted before the end of its first
    first = min(trial.started for trial in trials if trial.started is not None)
    starting_s = (first - done.created).total_seconds() - _training_seconds(done.path)
    return starting_s + sum(trial.duration_s or 0.0 for trial in trials) / workers


def _run(
    config: StudyConfig,
    home: Path,
    amount: Amount,
    recipes: Sequence[Mapping[str, Any]] | None,
    shared: Mapping[str, Any],
) -> None:
    """Run a control, or go on with it where it was interrupted."""
    if _begun(home / config.study.name):
        resume_run(home / config.study.name, amount=amount, **shared)
    else:
        run_study(config, directory=home, amount=amount, recipes=recipes, **shared)


def _begun(folder: Path) -> bool:
    return (folder / layout.HEADER).exists()


def _finished(folder: Path) -> bool:
    return _begun(folder) and Run.open(folder).finished


def _training_seconds(folder: Path) -> float:
    training = training_of(folder)
    return 0.0 if training is None else training.seconds


def _fresh(trial: TrialRecord, context: Context) -> tuple[nn.Module, bool]:
    """Return a trial's architecture with fresh weights, and whether norms are to be folded."""
    plan = read_plan(intact(trial.folder, trial.sha256, f"trial {trial.number}"))
    shape = Plan(tuple(step for step in plan.steps if not isinstance(step, Fold)))
    seed_everything(context.seed)
    model = context.problem.model.structure()
    rebuild(model, shape)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return model.to(context.problem.data.device), len(shape.steps) < len(plan.steps)


def _train(
    model: nn.Module, context: Context, epochs: int
) -> tuple[float, tuple[EpochRecord, ...]]:
    config, problem = context.problem.config, context.problem
    rate, decay = config.model.learning_rate, config.training.weight_decay
    start = time.perf_counter()
    run = Fit("from scratch", epochs, rate, decay)
    curve = fit(model, problem.data, problem.task, run, seed=context.seed)
    return time.perf_counter() - start, curve
