"""Controls: what the search is worth beside chance, and pruning beside training from scratch."""

import datetime
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from autocompress.artifacts import read_json, write_json
from autocompress.config import StudyConfig, load_study, study_from
from autocompress.errors import RunError
from autocompress.events import Message
from autocompress.graph import Plan, rebuild
from autocompress.graph.plan import Fold
from autocompress.search.workbench import Workbench
from autocompress.study.last_word import intact_folder
from autocompress.study.preparation import (
    TRAINING_FILE,
    Listener,
    build_structure,
    load_batches,
    prepare,
)
from autocompress.study.records import CONTROLS, RUN_FILE, SCRATCH_FILE, STUDY_FILE, Run
from autocompress.study.running import resume, run
from autocompress.study.searching import ignore
from autocompress.study.trials import TrialRecord
from autocompress.techniques.folding import fold_batch_norms
from autocompress.training.fitting import EpochRecord, Fit, fit, seed_everything


def run_controls(done: Run, *, workers: int = 1, progress: Listener = ignore) -> None:
    """Run what a finished run is to be compared with, into its folder ``controls``.

    - ``random``: random recipes for as long as the search took; a run of its own.
    - ``random_criterion``: the front's recipes, with units chosen at random; a run of its own.
    - ``from_scratch.json``: the architecture of the smallest model on the front, with fresh
      weights, trained for as long as that model and its baseline were.

    What is there already is left as it is, or gone on with where it was interrupted.

    Args:
        done: a run with a front.
        workers: as for the search.
        progress: hears what happens.

    Raises:
        RunError: the front is empty.
    """
    front = [trial for trial in done.front() if trial.harvested_from is None]
    if not front:
        raise RunError(f"{done.path} has no front that controls could be compared with")
    config = load_study(done.path / STUDY_FILE)
    home = done.path / CONTROLS
    spent_s = _spent_seconds(done, workers)
    epochs = _epochs(front[-1], config)
    chance = _changed(config, done.path, {"name": "random", "sampler": "random"}, epochs)
    if not _begun(home / "random"):
        progress(Message(f"control: random recipes for {spent_s:.0f} s"))
        run(chance, directory=home, timeout_s=spent_s, workers=workers, progress=progress)
    off = {"draft": False, "early_stopping": False, "harvest": False}
    study = {"name": "random_criterion", "trials": len(front), **off}
    unguided = _changed(config, done.path, study, {"criterion": "random", **epochs})
    recipes = [trial.params for trial in front]
    progress(Message("control: the front's recipes, with units chosen at random"))
    if _begun(home / "random_criterion"):
        resume(home / "random_criterion", workers=workers, progress=progress)
    else:
        run(unguided, directory=home, workers=workers, recipes=recipes, progress=progress)
    if not (home / SCRATCH_FILE).exists():
        smallest = min(front, key=lambda trial: float(trial.metrics["parameters"]))
        progress(Message(f"control: the architecture of trial {smallest.number} from scratch"))
        bench = prepare(config, done.path, load_batches(config), ignore)
        write_json(home / SCRATCH_FILE, from_scratch(smallest, config, bench, done.path))


def from_scratch(
    trial: TrialRecord, config: StudyConfig, bench: Workbench, folder: Path
) -> dict[str, Any]:
    """Train a trial's architecture from fresh weights, for the time that the trial had.

    That is its own training and, where the study trained the baseline, the baseline's too. Batch
    norms are folded after training, as in the trial.

    Args:
        trial: complete.
        config: the study.
        bench: what its trials share.
        folder: of the run.

    Returns:
        plain data: ``trial``, ``budget_s``, ``seconds``, ``epochs``, ``metrics``, ``curve``.
    """
    budget_s = sum(trial.seconds.get(stage, 0.0) for stage in ("sparsify", "recover"))
    budget_s += _training_seconds(folder)
    model, folds = _fresh(trial, config, bench)
    rate, decay = config.model.learning_rate, config.training.weight_decay
    seconds, _ = _train(_fresh(trial, config, bench)[0], bench, 1, rate, decay)
    epochs = max(1, round(budget_s / seconds))
    seconds, curve = _train(model, bench, epochs, rate, decay)
    if folds:
        model = fold_batch_norms(model, bench.batches.example)
    judgement = bench.judge(model.eval(), trial.precision)
    return {
        "trial": trial.number,
        "budget_s": budget_s,
        "seconds": seconds,
        "epochs": epochs,
        "metrics": judgement.metrics,
        "curve": [asdict(record) for record in curve],
    }


def _changed(
    config: StudyConfig, folder: Path, study: Mapping[str, Any], search: Mapping[str, Any]
) -> StudyConfig:
    """Return the study with other settings, on the baseline and teacher that the run has."""
    data = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["study"] = {**data["study"], **study}
    data["search"] = {**data["search"], **search}
    data["study"].pop("timeout", None)
    for section, home in (("model", "baseline"), ("teacher", "teacher")):
        if section in data:
            weights = (folder / home / "weights.safetensors").resolve()
            data[section] |= {"weights": str(weights), "epochs": 0}
    return study_from(data)


def _epochs(trial: TrialRecord, config: StudyConfig) -> dict[str, int]:
    """Return the epochs of the run's trials as knobs, so that a control does not plan its own."""
    names = {"epochs", "recovery_epochs"} - config.search.knobs.keys()
    return {name: trial.recipe["training"][name] for name in names}


def _spent_seconds(done: Run, workers: int) -> float:
    """Return how long the search took, its start included, but not the baseline's training."""
    trials = [trial for trial in done.trials() if trial.counts]
    first = min(trial.started for trial in trials if trial.started is not None)
    starting_s = (first.astimezone(datetime.UTC) - done.created).total_seconds()
    starting_s -= _training_seconds(done.path)
    return starting_s + sum(trial.duration_s or 0.0 for trial in trials) / workers


def _begun(folder: Path) -> bool:
    return (folder / RUN_FILE).exists()


def _training_seconds(folder: Path) -> float:
    path = folder / "baseline" / TRAINING_FILE
    return float(read_json(path)["seconds"]) if path.exists() else 0.0


def _fresh(trial: TrialRecord, config: StudyConfig, bench: Workbench) -> tuple[nn.Module, bool]:
    """Return a trial's architecture with fresh weights, and whether norms are to be folded."""
    plan = Plan.from_json((intact_folder(trial) / "plan.json").read_text(encoding="utf-8"))
    shape = Plan(tuple(step for step in plan.steps if not isinstance(step, Fold)))
    seed_everything(config.study.seed)
    model = build_structure(config.model, bench.batches.splits)
    rebuild(model, shape)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return model.to(bench.batches.device), len(shape.steps) < len(plan.steps)


def _train(
    model: nn.Module, bench: Workbench, epochs: int, learning_rate: float, weight_decay: float
) -> tuple[float, tuple[EpochRecord, ...]]:
    start = time.perf_counter()
    batches = bench.batches.reseeded(bench.seed)
    curve = fit(model, batches, Fit("from scratch", epochs, learning_rate, weight_decay))
    return time.perf_counter() - start, curve
