"""Run a job: the recipe of a trial, with what the search knows of the other trials."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autocompress.callbacks.derivation import KeepStates, derive, sparsity_levels
from autocompress.callbacks.early_stopping import StopEarly, is_predictable
from autocompress.callbacks.estimate import EstimateStructure, estimate_structure
from autocompress.callbacks.time_limit import TimeLimit
from autocompress.context import Context
from autocompress.errors import DeviceLostError, DiskFullError, TrialError, failing_as
from autocompress.execution.executor import Done, Job
from autocompress.metrics.pareto import dominates
from autocompress.pipeline import State
from autocompress.recipe import Recipe
from autocompress.results import Estimates, Rival, TrialResult
from autocompress.runs import layout
from autocompress.runs.journal import now
from autocompress.runs.store import intact, load_trainable
from autocompress.trial import TrialCallback, failed, run_trial

SHARE = 0.1  # of a trial's time that its derived candidates may cost


def run_job(job: Job, context: Context) -> Done:
    """Run a trial and what is derived from it.

    Returns:
        how it ended. Whatever goes wrong in it is its result, also in code of the user's, and
        ``device_lost`` says whether that made the GPU unusable for this process. One that could
        not be stored, for the disk is full, is interrupted, with that as its failure.

    Raises:
        KeyboardInterrupt: somebody asked to stop; nothing of the trial is stored.
    """
    started = now()
    if job.limit_s is not None:
        context = replace(context, monitor=TimeLimit(context.monitor, job.limit_s))
    try:
        with failing_as("trial"):
            done = _run(job, context)
        with failing_as("save", "its result cannot be stored"):
            json.dumps(done.result.to_dict(), allow_nan=False)
    except TrialError as error:
        result = failed(job.recipe, error)
        if isinstance(error, DiskFullError):  # it is none of the trial's fault
            result = replace(result, state="interrupted")
        done = Done(
            number=job.number,
            result=result,
            derive_s=job.derive_s,
            device_lost=isinstance(error, DeviceLostError),
        )
    return replace(done, started=started)


def _run(job: Job, context: Context) -> Done:
    begin, name = time.perf_counter(), f"{job.number:05d}"
    with failing_as("start"):
        recipe, start = Recipe.from_dict(job.recipe), _start_of(job, context)
        levels = sparsity_levels(recipe) if job.derive else []
        kept = KeepStates({level.epoch for level in levels if level.epoch is not None}, start)
        callbacks = [*([kept] if job.derive else []), *_watching(job, recipe, start, context)]
    result = run_trial(recipe, context, callbacks, name=name, start=start)
    if result.state == "pruned" and job.estimate:
        result = replace(result, metrics=_completed(result.metrics, recipe, context, start))
    deriving = time.perf_counter()
    allowed_s = job.derive_s + SHARE * (deriving - begin)
    if not job.derive or result.state != "complete":
        return Done(number=job.number, result=result, derive_s=job.derive_s)
    derived: list[TrialResult] = []
    lost = False
    try:
        with failing_as("derive"):
            best = leads(result.metrics, job.rivals, context)
            options: Any = {"name": name, "seconds": allowed_s, "best": best}
            derived.extend(derive(recipe, result, kept, context, **options))
    except TrialError as error:  # the trial itself is complete
        derived.append(failed(job.recipe, error))
        lost = isinstance(error, DeviceLostError)
    return Done(
        number=job.number,
        result=replace(result, derived=tuple(derived)),
        derive_s=allowed_s - (time.perf_counter() - deriving),
        device_lost=lost,
    )


def _watching(job: Job, recipe: Recipe, start: State, context: Context) -> list[TrialCallback]:
    """Return what may end a trial before its end."""
    options, found, estimate = context.problem.config.study, list[TrialCallback](), None
    if options.estimate:
        estimate = EstimateStructure(context, start, for_stopping=job.stop_early)
        found.append(estimate)
    if options.early_stopping and is_predictable(context.problem.task.score):
        found.append(StopEarly(recipe, context, job.rivals, estimate))
    return found


def _start_of(job: Job, context: Context) -> State:
    """Return what a trial starts from.

    Raises:
        RunError: the trial that it is to start from is damaged or gone.
    """
    if job.start_folder is None:
        return context.start
    folder = intact(
        layout.trial_folder(context.folder, job.start_folder), job.start_sha256, "its start"
    )
    return load_trainable(folder, context.problem.model.structure())


def _completed(known: Estimates, recipe: Recipe, context: Context, start: State) -> Estimates:
    """Return what is known of a trial that was pruned, with an estimate of what is not."""
    if {"latency_ms", "parameters"} <= known.keys():
        return known
    try:
        found = estimate_structure(recipe, context, latency=True, start=start)
    except (DeviceLostError, DiskFullError):
        raise
    except TrialError:  # such a recipe cannot be applied to this model
        return known
    return {**found.metrics, **known}


def leads(metrics: Estimates, rivals: Sequence[Rival], context: Context) -> bool:
    """Return whether a trial is feasible, and no other that is dominates it."""
    broken = context.limits.violations(metrics, context.baseline_metrics)
    if any(by > 0 for by in broken.values()):
        return False
    own = [m.sign * metrics[m.name].value for m in context.objectives]
    return not any(
        dominates([m.sign * rival.values[m.name] for m in context.objectives], own)
        for rival in rivals
        if rival.feasible
    )
