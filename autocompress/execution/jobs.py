"""Run a job: the recipe of a trial, with what the search knows of the other trials."""

import time
from collections.abc import Sequence
from dataclasses import replace

from autocompress.callbacks.derivation import KeepStates, derive, sparsity_levels
from autocompress.callbacks.early_stopping import StopEarly
from autocompress.callbacks.estimate import EstimateStructure, estimate_structure
from autocompress.context import Context
from autocompress.errors import TrialError, failing_as
from autocompress.execution.executor import Done, Job
from autocompress.metrics.pareto import dominates
from autocompress.pipeline import State
from autocompress.recipe import Recipe
from autocompress.results import Estimates, Rival
from autocompress.runs import layout
from autocompress.runs.store import intact, load_trainable
from autocompress.trial import TrialCallback, failed, run_trial

SHARE = 0.1  # of a trial's time that its derived candidates may cost


def run_job(job: Job, context: Context) -> Done:
    """Run a trial and what is derived from it.

    Raises:
        DeviceLostError: the GPU is unusable for this process.
        KeyboardInterrupt: somebody asked to stop; nothing of the trial is stored.
    """
    recipe, begin, name = Recipe.from_dict(job.recipe), time.perf_counter(), f"{job.number:05d}"
    try:
        start = _start_of(job, context)
    except TrialError as error:
        return Done(number=job.number, result=failed(recipe, error), derive_s=job.derive_s)
    levels = sparsity_levels(recipe) if job.derive else []
    kept = KeepStates({level.epoch for level in levels if level.epoch is not None}, start)
    callbacks: list[TrialCallback] = [kept] if job.derive else []
    options, estimate = context.problem.config.study, None
    if options.estimate:
        estimate = EstimateStructure(context, start, for_stopping=job.stop_early)
        callbacks.append(estimate)
    if options.early_stopping:
        callbacks.append(StopEarly(recipe, context, job.rivals, estimate))
    result = run_trial(recipe, context, callbacks, name=name, start=start)
    if result.state == "pruned" and job.estimate:
        result = replace(result, metrics=_completed(result.metrics, recipe, context, start))
    deriving = time.perf_counter()
    allowed_s = job.derive_s + SHARE * (deriving - begin)
    if not job.derive or result.state != "complete":
        return Done(number=job.number, result=result, derive_s=job.derive_s)
    best = leads(result.metrics, job.rivals, context)
    derived = tuple(derive(recipe, result, kept, context, name=name, seconds=allowed_s, best=best))
    left_s = allowed_s - (time.perf_counter() - deriving)
    return Done(number=job.number, result=replace(result, derived=derived), derive_s=left_s)


def _start_of(job: Job, context: Context) -> State:
    """Return what a trial starts from.

    Raises:
        TrialError: the trial that it is to start from is damaged or gone.
    """
    if job.start_folder is None:
        return context.start
    with failing_as("start"):
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
