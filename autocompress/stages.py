"""The stages of the pipeline: what each takes, what it does, and what it gives."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from autocompress.data import Data
from autocompress.errors import VerificationError, failing_as
from autocompress.graph import Plan, check_equal
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, StageResult
from autocompress.short_repr import short_repr
from autocompress.tasks import Task
from autocompress.techniques import factorization, folding, pruning
from autocompress.techniques.analysis import Analysis
from autocompress.techniques.report import Report
from autocompress.techniques.sparsification import sparsify
from autocompress.training.callbacks import HoldZeros, KnowledgeDistillation, Sparsify
from autocompress.training.evaluation import evaluate, reestimate_batch_norms
from autocompress.training.fitting import Fit, Monitor, fit, seed_everything

EXACT = 1e-4  # standard deviations that the outputs of an exact stage may differ by, in float32


@short_repr
@dataclass(frozen=True)
class State:
    """A network between two stages.

    Attributes:
        model: trainable, in float32.
        plan: every surgical step from the baseline's structure to this one; the factory of the
            baseline, the plan and the weights rebuild the network in another process.
        stage: the last stage that is behind it; ``None``: none of the recipe.
        curve: one record for each epoch so far.
        stages: what each stage led to, in order.
    """

    model: nn.Module
    plan: Plan = field(default_factory=Plan)
    stage: str | None = None
    curve: tuple[EpochRecord, ...] = ()
    stages: tuple[StageResult, ...] = ()


@short_repr
@dataclass(frozen=True, kw_only=True)
class Work:
    """What all stages share.

    Attributes:
        data: what is trained and scored on, on the device where that runs.
        task: loss and scores.
        analysis: of the baseline, from which plans count.
        teacher: what students imitate; ``None``: the network that ``compress`` starts from.
        seed: what training derives from.
        monitor: follows each training run, and may end it.
        dry: structure only: masks of the weights as they are, in place of training, and no scores.
            With a local scope the widths are those after training; with a global one they may be
            several times larger.
    """

    data: Data
    task: Task
    analysis: Analysis
    teacher: nn.Module | None = None
    seed: int = 0
    monitor: Monitor = field(default_factory=Monitor)
    dry: bool = False


@short_repr
@dataclass(frozen=True, kw_only=True)
class Change:
    """What a stage made of a state.

    Attributes:
        model: a new network; the state's own is not changed.
        report: surgery for the plan, and sentences.
        curve: of a training run.
        score: the task's first score on ``valid``, where the stage evaluated it.
        verified: whether the stage itself compared the outputs before and after, in float64.
    """

    model: nn.Module
    report: Report = field(default_factory=Report)
    curve: tuple[EpochRecord, ...] = ()
    score: float | None = None
    verified: bool = False


@short_repr
@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the pipeline.

    Attributes:
        name: in results, curves and errors.
        function: from a state, a recipe and the work to a change.
        wanted: whether a recipe asks for it.
        trains: whether it trains.
        exact: whether the outputs stay the same; each call compares them, on the example.
        settings: class of its settings in ``recipe.extra``, for a stage that a user added.
    """

    name: str
    function: Callable[[State, Recipe, Work], Change]
    wanted: Callable[[Recipe], bool]
    trains: bool = False
    exact: bool = False
    settings: type | None = None

    def __call__(self, state: State, recipe: Recipe, work: Work) -> State:
        """Return the state after this stage, with its result.

        Raises:
            TrialError: it failed, or it is exact and the outputs changed.
        """
        begin = time.perf_counter()
        with failing_as(self.name):
            made = self.function(state, recipe, work)
            if self.exact and not made.verified:
                inputs = work.data.example
                check_equal(state.model, made.model, inputs, stage=self.name, tolerance=EXACT)
        plan, score = state.plan.then(*made.report.steps), made.score
        if self.exact and state.stages:
            score = state.stages[-1].score
        result = StageResult(
            stage=self.name,
            seconds=time.perf_counter() - begin,
            score=score,
            parameters=sum(parameter.numel() for parameter in made.model.parameters()),
            steps=len(plan.steps),
            report=made.report.sentences,
        )
        curve, stages = (*state.curve, *made.curve), (*state.stages, result)
        return State(made.model, plan, self.name, curve, stages)


def train(state: State, recipe: Recipe, work: Work) -> Change:
    """Distil and sparsify."""
    seed_everything(work.seed)
    settings, report = recipe.sparsification, Report()
    if work.dry or recipe.training.epochs == 0:
        if settings is None:
            return Change(model=state.model)
        units, example = _analysis(state, work).units, work.data.example
        model, report = sparsify(
            state.model, settings, example=example, units=units, seed=work.seed
        )
        return Change(model=model, report=report)
    model, callbacks = copy.deepcopy(state.model), []
    if settings is not None:
        units = _analysis(state, work).units
        callbacks = [Sparsify(settings=settings, units=units, seed=work.seed)]
    curve = _fit(model, recipe, work, recipe.training.main, seed=work.seed, callbacks=callbacks)
    if settings is not None:
        report = callbacks[0].sparsifier.report
    return Change(model=model, report=report, curve=curve, score=_end_of(curve))


def prune(state: State, recipe: Recipe, work: Work) -> Change:
    """Remove what is zero; all of it, or the stage fails."""
    units = _analysis(state, work).units
    model, report = pruning.prune(
        state.model, recipe.pruning, example=work.data.example, units=units
    )
    if report.refused:
        raise VerificationError(
            "; ".join(f"units of {name}: {reason}" for name, reason in report.refused.items())
        )
    return Change(model=model, report=report, verified=True)


def factorize(state: State, recipe: Recipe, work: Work) -> Change:
    """Replace layers by thinner ones, and evaluate what that costs before the recovery."""
    change = _factorized(state, recipe.factorization, work)
    if work.dry:
        return change
    found = evaluate(change.model, work.data.valid, work.task)
    return replace(change, score=found[work.task.score.name].value)


def recover(state: State, recipe: Recipe, work: Work) -> Change:
    """Train on after surgery; without epochs, fit the batch norms to the changed weights."""
    model, seed, training = copy.deepcopy(state.model).eval(), work.seed + 1, recipe.training
    if work.dry:
        return Change(model=model)
    curve = _fit(model, recipe, work, training.recovery, seed=seed, callbacks=[HoldZeros()])
    touched = recipe.sparsification is not None or training.epochs > 0 or bool(recipe.extra)
    if (touched or state.plan.steps) and training.recovery_epochs == 0:
        reestimate_batch_norms(model, work.data.train(seed))
    return Change(model=model.eval(), curve=curve, score=_end_of(curve))


def factorize_late(state: State, recipe: Recipe, work: Work) -> Change:
    """Replace layers after the recovery; the result is not evaluated here."""
    return _factorized(state, recipe.late_factorization, work)


def fold(state: State, recipe: Recipe, work: Work) -> Change:
    """Fold batch norms into the layers beside them."""
    steps = work.analysis.folds_after(state.plan)
    model, report = folding.fold_batch_norms(state.model, example=work.data.example, steps=steps)
    return Change(model=model, report=report, verified=True)


def _analysis(state: State, work: Work) -> Analysis:
    """Return the analysis of a state's network."""
    return work.analysis.after(state.plan, state.model)


def _factorized(state: State, settings: factorization.Factorization | None, work: Work) -> Change:
    if settings is None:
        return Change(model=state.model)
    example = None if work.dry else work.data.example
    model, report = factorization.factorize(state.model, settings, example=example)
    return Change(model=model, report=report)


def _fit(
    model: nn.Module, recipe: Recipe, work: Work, run: Fit, *, seed: int, callbacks: list[Any]
) -> tuple[EpochRecord, ...]:
    if recipe.distillation is not None and work.teacher is not None:
        outputs = work.task.distilled
        distil = KnowledgeDistillation(work.teacher, settings=recipe.distillation, outputs=outputs)
        callbacks = [distil, *callbacks]
    return fit(
        model, work.data, work.task, run, seed=seed, callbacks=callbacks, monitor=work.monitor
    )


def _end_of(curve: tuple[EpochRecord, ...]) -> float | None:
    return curve[-1].score if curve else None
