"""One trial: apply a recipe, evaluate what comes out, store it. No search and no Optuna here."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from autocompress.context import Context
from autocompress.errors import (
    ConfigurationError,
    DeviceLostError,
    DiskFullError,
    TrialError,
    failing_as,
)
from autocompress.evaluation import Evaluation
from autocompress.pipeline import State, compress
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Estimates, Failure, StageResult, TrialResult
from autocompress.runs import layout
from autocompress.runs.store import save_trial
from autocompress.targets import compare_layers, profile_layers
from autocompress.techniques.sparsification import Sparsifier
from autocompress.training.fitting import Monitor

TRAINING_STAGES = ("train", "recover")


class PrunedError(TrialError):
    """A trial is not worth its time.

    Attributes:
        failure: the reason.
        metrics: what is known of it.
    """

    def __init__(self, failure: Failure, metrics: Estimates) -> None:
        super().__init__(failure.stage, failure.reason)
        self.failure = failure
        self.metrics = metrics


class TrialCallback(Monitor):
    """Follows one trial; override what you need. Raise ``PrunedError`` to end it."""

    def begin(self, recipe: Recipe) -> None:
        """Receive the recipe, before anything is done."""

    def stage(self, state: State) -> None:
        """Receive the state after each stage."""

    def made(self, state: State) -> None:
        """Receive the compressed network, before it is evaluated and measured."""


class _Callbacks(Monitor):
    """Passes everything on to the run's monitor and to the callbacks of a trial, in order."""

    def __init__(self, monitor: Monitor, callbacks: Sequence[TrialCallback]) -> None:
        self.monitor, self.callbacks = monitor, callbacks

    def batch(self) -> None:
        for monitor in (self.monitor, *self.callbacks):
            monitor.batch()

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        for monitor in (self.monitor, *self.callbacks):
            monitor.epoch(record, model)


def run_trial(
    recipe: Recipe,
    context: Context,
    callbacks: Sequence[TrialCallback] = (),
    *,
    name: str,
    start: State | None = None,
) -> TrialResult:
    """Apply a recipe, evaluate what comes out, and store it in the run.

    Args:
        recipe: all that the trial decides.
        context: what all trials share.
        callbacks: follow the trial, and may end it.
        name: of its folder.
        start: what it starts from; ``None``: the baseline.

    Returns:
        how it ended; what goes wrong in a trial is its result and not an error.

    Raises:
        DeviceLostError: the GPU is unusable for this process.
        DiskFullError: it could not be stored.
        KeyboardInterrupt: somebody asked to stop; nothing of the trial is stored.
    """
    result = TrialResult(
        state="complete", recipe=recipe.to_dict(), threads=torch.get_num_threads()
    )
    progress = _Progress()
    monitor = _Callbacks(context.monitor, (progress, *callbacks))  # who ends it is asked last
    begin = time.perf_counter()
    try:
        with failing_as("estimate"):
            _refuse_inapplicable(recipe, context)
            for callback in callbacks:
                callback.begin(recipe)
        estimating_s = time.perf_counter() - begin
        work, on_stage = context.work(monitor), _on_stage(callbacks, progress)
        final = compress(start or context.start, recipe, work, on_stage=on_stage)
        with failing_as("estimate"):
            for callback in callbacks:
                callback.made(final)
        evaluation = context.evaluator(final.model, recipe.precision)
        saving = time.perf_counter()
        with failing_as("save"):
            sha256 = _save(name, recipe, final, progress.trainable or final, evaluation, context)
    except PrunedError as pruned:
        return replace(
            result,
            state="pruned",
            failure=pruned.failure,
            metrics=pruned.metrics,
            curve=tuple(progress.curve),
            seconds={"estimate": time.perf_counter() - begin} if not progress.curve else {},
        )
    except (DeviceLostError, DiskFullError):
        raise
    except TrialError as error:
        return failed(result.recipe, error, result)
    spent = {"save": time.perf_counter() - saving, **evaluation.seconds}
    for stage in final.stages[0 if start is None else len(start.stages) :]:
        spent[stage.stage] = spent.get(stage.stage, 0.0) + stage.seconds
    if callbacks:
        spent["estimate"] = estimating_s
    score = evaluation.metrics[context.problem.task.score.name].value
    return replace(
        result,
        metrics=evaluation.metrics,
        curve=final.curve,
        stages=_with_score(final.stages, score),
        seconds=spent,
        folder=name,
        sha256=sha256,
    )


def failed(
    recipe: Mapping[str, Any], error: TrialError, result: TrialResult | None = None
) -> TrialResult:
    """Return the result of a trial that failed.

    Args:
        recipe: as ``Recipe.to_dict`` writes it.
        error: what happened.
        result: what is known of the trial besides.
    """
    text = "".join(traceback.format_exception(error))[-8000:]
    failure = Failure(stage=error.stage, reason=error.reason, traceback=text)
    known = result or TrialResult(state="failed", recipe=recipe)
    return replace(known, state="failed", failure=failure)


class _Progress(TrialCallback):
    """Keeps the curve so far, and the last state that can be trained further."""

    def __init__(self) -> None:
        self.curve: list[EpochRecord] = []
        self.trainable: State | None = None

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        self.curve.append(record)

    def stage(self, state: State) -> None:
        if state.stage == "recover":
            self.trainable = state


def _on_stage(callbacks: Sequence[TrialCallback], progress: _Progress) -> Callable[[State], None]:
    def on_stage(state: State) -> None:
        with failing_as(state.stage or "train"):
            for callback in (progress, *callbacks):
                callback.stage(state)

    return on_stage


def _refuse_inapplicable(recipe: Recipe, context: Context) -> None:
    """Prune what cannot work on this model, such as batch-norm scales of single weights."""
    if recipe.sparsification is None:
        return
    try:
        Sparsifier(context.baseline, recipe.sparsification, context.analysis.units.groups)
    except ConfigurationError as error:
        raise PrunedError(Failure(stage="estimate", reason=str(error)), {}) from error


def _save(
    name: str,
    recipe: Recipe,
    final: State,
    trainable: State,
    evaluation: Evaluation,
    context: Context,
) -> str:
    evaluator, baseline, deployed = context.evaluator, context.baseline, evaluation.artifact
    profile = profile_layers(baseline, final.model, evaluator.example, evaluator.profiling)
    more: dict[str, Any] = {
        layout.MEASUREMENT: evaluation.latency.to_dict(),
        layout.LAYERS: [change.to_dict() for change in compare_layers(baseline, final.model)],
        layout.PROFILE: [layer.to_dict() for layer in profile],
    }
    if isinstance(deployed.content, bytes) and recipe.precision != "fp32":
        more[layout.ARTIFACT] = deployed.content
    return save_trial(context.folder, name, recipe.to_dict(), final, trainable, more)


def _with_score(stages: Sequence[StageResult], score: float) -> tuple[StageResult, ...]:
    """Note at the last stage how the deployed model was scored."""
    if not stages:
        return ()
    return (*stages[:-1], replace(stages[-1], score=score))
