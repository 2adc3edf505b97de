"""From a baseline and a recipe to a smaller, faster model. Read this file first.

    distil + sparsify  ▶  prune  ▶  factorize  ▶  recover  ▶  factorize late, fold  (▶  deploy)

Zeroed units are removed and batch norms are folded exactly: both steps compare the outputs of
the model before and after, and fail the trial if they differ. The network stays in float32, so
that it can be trained further; ``deployment.deploy`` brings it to the recipe's precision.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autocompress.errors import VerificationError, failing_as
from autocompress.graph import Plan, UnitGroup, plan_of
from autocompress.recipe import Recipe
from autocompress.stages import StageLog, StageResult
from autocompress.techniques.anatomy import Anatomy, examine
from autocompress.techniques.factorization import factorize
from autocompress.techniques.folding import fold_batch_norms
from autocompress.techniques.pruning import Pruning, prune_with_report
from autocompress.techniques.sparsification import sparsify
from autocompress.training.batches import Batches
from autocompress.training.callbacks import HoldZeros, KnowledgeDistillation, Sparsify
from autocompress.training.evaluation import evaluate, reestimate_batch_norms
from autocompress.training.fitting import (
    EpochRecord,
    Fit,
    Follower,
    fit,
    seed_everything,
)

Curve = tuple[EpochRecord, ...]
UNTRAINED = ("factorize late", "fold")  # stages after the last training
Trunk = Mapping[str, torch.Tensor]
"""A state dict of the baseline's structure, distilled and sparsified, before any surgery."""


@dataclass(frozen=True)
class CompressedModel:
    """What a recipe made of a baseline.

    Attributes:
        model: the compressed network, in eval mode and float32.
        plan: every surgical step from the baseline's structure to this one; factory, plan and
            weights rebuild the model in another process.
        curve: one record per epoch of every training stage.
        stages: what each stage led to, in order.
        seconds: wall-clock time per stage.
        trained: the network after its last training, from which ``refinish`` makes others; the
            same object as ``model`` where nothing was done to it since.
    """

    model: nn.Module
    plan: Plan
    curve: Curve
    stages: Sequence[StageResult]
    seconds: Mapping[str, float]
    trained: nn.Module


def compress(
    baseline: nn.Module,
    recipe: Recipe,
    batches: Batches,
    *,
    teacher: nn.Module | None = None,
    anatomy: Anatomy | None = None,
    seed: int = 0,
    follower: Follower | None = None,
) -> CompressedModel:
    """Apply a recipe to a copy of the baseline.

    Args:
        baseline: a trained network; it is not changed.
        recipe: which stages run, and how.
        batches: the data, on the device where training runs.
        teacher: whom the student listens to; without one the baseline teaches. It is not changed.
        anatomy: what ``examine`` found in the baseline, if it was examined before.
        seed: same seed, recipe, data and number of threads give the same model on a CPU.
        follower: hears of each batch and epoch of each training stage.

    Raises:
        TrialError: a stage failed; it names the stage and the reason.
    """
    model, batches, distil = _set_up(baseline, recipe, batches, teacher)
    if anatomy is None:
        with failing_as("sparsify"):
            anatomy = examine(model, batches.example)
    job = _Job(recipe, batches, anatomy, seed, distil, follower or Follower(), StageLog())
    model, curve = job.train(model)
    model, recovery = job.shrink(model)
    return job.finish(model, curve + recovery)


def branch(  # noqa: PLR0913 (what compress takes, and a trunk)
    baseline: nn.Module,
    recipe: Recipe,
    trunk: Trunk,
    batches: Batches,
    *,
    teacher: nn.Module | None = None,
    anatomy: Anatomy,
    seed: int = 0,
    follower: Follower | None = None,
) -> CompressedModel:
    """Apply what follows the first training run of a recipe to a trunk that was kept from it.

    It gives what ``compress`` gives for this recipe, at the cost of surgery and recovery alone:
    one training run yields several candidates.

    Args:
        baseline: as for ``compress``.
        recipe: its first training run must be the one that the trunk is from.
        trunk: one that ``KeepTrunks`` kept.
        batches: as for ``compress``.
        teacher: as for ``compress``.
        anatomy: the baseline's.
        seed: as for ``compress``.
        follower: as for ``compress``.

    Raises:
        TrialError: a stage failed; it names the stage and the reason.
    """
    model, batches, distil = _set_up(baseline, recipe, batches, teacher)
    model.load_state_dict(trunk)
    job = _Job(recipe, batches, anatomy, seed, distil, follower or Follower(), StageLog())
    return job.finish(*job.shrink(model))


def refinish(
    parent: CompressedModel, recipe: Recipe, batches: Batches, *, anatomy: Anatomy
) -> CompressedModel:
    """Apply only what follows the last training of a recipe, to what another recipe trained.

    It gives what ``compress`` gives for this recipe, in about a second.

    Args:
        parent: what the other recipe led to; it is not changed.
        recipe: up to its last training it must be the other one.
        batches: as for ``compress``.
        anatomy: the baseline's.

    Raises:
        TrialError: a stage failed; it names the stage and the reason.
    """
    log = StageLog(result for result in parent.stages if result.stage not in UNTRAINED)
    job = _Job(recipe, batches, anatomy, 0, (), Follower(), log)
    return job.finish(copy.deepcopy(parent.trained), parent.curve)


@dataclass(frozen=True)
class _Job:
    """One recipe at work."""

    recipe: Recipe
    batches: Batches
    anatomy: Anatomy
    seed: int
    distil: Sequence[KnowledgeDistillation]
    follower: Follower
    log: StageLog

    def train(self, model: nn.Module) -> tuple[nn.Module, Curve]:
        """Distil and sparsify."""
        recipe, seed, batches = self.recipe, self.seed, self._seeded(self.seed)
        settings, units = recipe.sparsification, self.anatomy.units.groups
        with self.log.stage("sparsify"):
            thin = []
            if settings is not None:
                thin = [Sparsify(settings=settings, units=units, seed=seed)]
            curve = self._fit(model, batches, recipe.training.main, thin)
            if settings is not None and recipe.training.epochs == 0:
                example = batches.example
                model = sparsify(model, settings, units, example_inputs=example, seed=seed)
        if settings is not None or curve:
            self.log.note("sparsify", model, _end_of(curve))
        return model, curve

    def shrink(self, model: nn.Module) -> tuple[nn.Module, Curve]:
        """Prune, factorize, recover; the same for a trunk just trained and for one kept."""
        recipe, batches, example = self.recipe, self._seeded(self.seed + 1), self.batches.example
        before = plan_of(model)

        if recipe.pruning is not None:
            with self.log.stage("prune"):
                model = prune_exactly(model, example, recipe.pruning, self.anatomy.units.groups)
            self.log.note_exact("prune", model)

        if recipe.factorization is not None:
            with self.log.stage("factorize"):
                model = factorize(model, recipe.factorization, calibration=example)
            with self.log.stage("evaluate"):
                accuracy = evaluate(model, batches.valid).accuracy
            self.log.note("factorize", model, accuracy)

        with self.log.stage("recover"):
            curve = self._fit(model, batches, recipe.training.recovery, [HoldZeros()])
            touched = recipe.sparsification is not None or recipe.training.epochs > 0
            touched = touched or plan_of(model) != before
            if touched and recipe.training.recovery_epochs == 0:
                reestimate_batch_norms(model, batches.train)
        self.log.note("recover", model, _end_of(curve))
        return model.eval(), curve

    def finish(self, trained: nn.Module, curve: Curve) -> CompressedModel:
        """Factorize late, fold: what needs no more training."""
        recipe, example, model = self.recipe, self.batches.example, trained

        if recipe.late_factorization is not None:
            with self.log.stage("factorize late"):
                model = factorize(model, recipe.late_factorization, calibration=example)
            self.log.note("factorize late", model, None)  # whoever judges the model evaluates it

        if recipe.fold:
            with self.log.stage("fold"):
                steps = self.anatomy.folds_after(plan_of(model))
                model = fold_batch_norms(model, example, steps=steps)
            self.log.note_exact("fold", model)
        log = self.log
        return CompressedModel(model, plan_of(model), curve, log.results, log.seconds, trained)

    def _fit(self, model: nn.Module, batches: Batches, run: Fit, more: Sequence[Any]) -> Curve:
        callbacks = [*self.distil, *more]
        return fit(model, batches, run, callbacks=callbacks, follower=self.follower)

    def _seeded(self, seed: int) -> Batches:
        seed_everything(seed)
        return self.batches.reseeded(seed)


def _end_of(curve: Curve) -> float | None:
    return curve[-1].accuracy if curve else None


def _set_up(
    baseline: nn.Module, recipe: Recipe, batches: Batches, teacher: nn.Module | None
) -> tuple[nn.Module, Batches, list[KnowledgeDistillation]]:
    """Copy the networks to the device, and decide the memory layout in which they train."""
    with failing_as("sparsify"):
        model = copy.deepcopy(baseline).to(batches.device)
        if recipe.distillation is None:
            return model, batches.laid_out_for(model), []
        guide = copy.deepcopy(baseline if teacher is None else teacher).to(batches.device)
        batches = batches.laid_out_for(model, guide)
        guide.to(memory_format=batches.layout)
        return model, batches, [KnowledgeDistillation(guide, settings=recipe.distillation)]


def prune_exactly(
    model: nn.Module, example: torch.Tensor, settings: Pruning, units: Sequence[UnitGroup]
) -> nn.Module:
    """Prune, and refuse a model of which some zero units could not be removed exactly.

    Raises:
        VerificationError: outputs before and after differ; it names the units and the difference.
    """
    pruned = prune_with_report(model, example, settings, units=units)
    if pruned.refused:
        raise VerificationError(
            "; ".join(f"units of {name}: {reason}" for name, reason in pruned.refused.items())
        )
    return pruned.model


def draft(
    baseline: nn.Module, recipe: Recipe, example: torch.Tensor, anatomy: Anatomy
) -> nn.Module:
    """Return the structure that a recipe leads to, without training, in about a second.

    One-shot masks on the baseline's weights, then surgery. With a local scope the widths are
    those of the trained candidate; with a global one it may be several times larger. Its accuracy
    means nothing; its size and speed tell whether training is worth it.
    """
    model, units = copy.deepcopy(baseline), anatomy.units.groups
    with failing_as("draft"):
        if recipe.sparsification is not None:
            settings = recipe.sparsification
            model = sparsify(model, settings, units, example_inputs=example)
        if recipe.pruning is not None:
            model = prune_exactly(model, example, recipe.pruning, units)
        if recipe.factorization is not None:
            model = factorize(model, recipe.factorization)
        if recipe.late_factorization is not None:
            model = factorize(model, recipe.late_factorization)
        if recipe.fold:
            model = fold_batch_norms(model, example, steps=anatomy.folds_after(plan_of(model)))
    return model.eval()


class KeepTrunks(Follower):
    """Keeps the trunk after some epochs of the first training run, for ``branch``.

    Args:
        epochs: after which of them, from 1.
        follower: hears everything too.

    Attributes:
        trunks: the states, by epoch.
    """

    def __init__(self, epochs: Collection[int], follower: Follower) -> None:
        self.epochs = epochs
        self.follower = follower
        self.trunks: dict[int, Trunk] = {}

    def batch(self) -> None:
        """Pass it on."""
        self.follower.batch()

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Keep the model's state if it is one of the epochs; pass it on."""
        if record.stage == "sparsify" and record.epoch in self.epochs:
            self.trunks[record.epoch] = {n: t.clone() for n, t in model.state_dict().items()}
        self.follower.epoch(record, model)
