"""From a baseline and a recipe to a smaller, faster model. Read this file first.

    distil + sparsify  ▶  prune  ▶  factorize  ▶  recover  ▶  fold

Zeroed units are removed and batch norms are folded exactly: both steps compare the outputs of
the model before and after, and fail the trial if they differ.
"""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from autocompress.errors import VerificationError, failing_as
from autocompress.graph import Plan, UnitGroup, find_units, plan_of
from autocompress.recipe import Recipe
from autocompress.techniques.factorization import factorize
from autocompress.techniques.folding import fold_batch_norms
from autocompress.techniques.pruning import Pruning, prune_with_report
from autocompress.techniques.sparsification import sparsify
from autocompress.training.batches import Batches
from autocompress.training.callbacks import HoldZeros, KnowledgeDistillation, Sparsify
from autocompress.training.evaluation import reestimate_batch_norms
from autocompress.training.fitting import (
    EpochRecord,
    Follower,
    fit,
    seed_everything,
)


@dataclass(frozen=True)
class CompressedModel:
    """What a recipe made of a baseline.

    Attributes:
        model: the compressed network, in eval mode.
        plan: every surgical step from the baseline's structure to this one; factory, plan and
            weights rebuild the model in another process.
        curve: one record per epoch of every training stage.
        seconds: wall-clock time per stage.
    """

    model: nn.Module
    plan: Plan
    curve: tuple[EpochRecord, ...]
    seconds: Mapping[str, float]


def compress(
    baseline: nn.Module,
    recipe: Recipe,
    batches: Batches,
    *,
    teacher: nn.Module | None = None,
    units: Sequence[UnitGroup] | None = None,
    seed: int = 0,
    follower: Follower | None = None,
) -> CompressedModel:
    """Apply a recipe to a copy of the baseline.

    Args:
        baseline: a trained network; it is not changed.
        recipe: which stages run, and how.
        batches: the data, on the device where training runs.
        teacher: whom the student listens to; without one the baseline teaches.
        units: the baseline's units, if they were found before.
        seed: same seed, recipe, data and number of threads give the same model on a CPU.
        follower: hears of each batch and epoch of each training stage.

    Raises:
        TrialError: a stage failed; it names the stage and the reason.
    """
    seed_everything(seed)
    batches = batches.reseeded(seed)
    example = batches.example
    training, sparsification = recipe.training, recipe.sparsification
    model = copy.deepcopy(baseline).to(batches.device)
    clock = _Clock()
    curve: list[EpochRecord] = []

    distil = []
    if recipe.distillation is not None:
        teacher = copy.deepcopy(baseline) if teacher is None else teacher
        teacher = teacher.to(batches.device)
        distil = [KnowledgeDistillation(teacher, settings=recipe.distillation)]

    with clock.stage("sparsify"):
        if units is None:
            units = tuple(find_units(model, example))
        thin = []
        if sparsification is not None:
            thin = [Sparsify(settings=sparsification, units=units, seed=seed)]
        callbacks = [*distil, *thin]
        curve += fit(model, batches, training.main, callbacks=callbacks, follower=follower)
        if sparsification is not None and training.epochs == 0:
            model = sparsify(model, sparsification, units, example_inputs=example, seed=seed)

    if recipe.pruning is not None:
        with clock.stage("prune"):
            model = prune_exactly(model, example, recipe.pruning, units)

    if recipe.factorization is not None:
        with clock.stage("factorize"):
            model = factorize(model, recipe.factorization, calibration=example)

    with clock.stage("recover"):
        callbacks = [*distil, HoldZeros()]
        curve += fit(model, batches, training.recovery, callbacks=callbacks, follower=follower)
        if training.recovery_epochs == 0:
            reestimate_batch_norms(model, batches.train)

    if recipe.fold:
        with clock.stage("fold"):
            model = fold_batch_norms(model, example)

    model.eval()
    return CompressedModel(model, plan_of(model), tuple(curve), clock.seconds)


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
    baseline: nn.Module, recipe: Recipe, example: torch.Tensor, units: Sequence[UnitGroup]
) -> nn.Module:
    """Return the structure that a recipe leads to, without training, in about a second.

    One-shot masks on the baseline's weights, then surgery. With a local scope the widths are
    those of the trained candidate; with a global one they are close to them. Its accuracy means
    nothing; its size and speed tell whether training is worth it.
    """
    model = copy.deepcopy(baseline)
    with failing_as("draft"):
        if recipe.sparsification is not None:
            settings = recipe.sparsification
            model = sparsify(model, settings, units, example_inputs=example)
        if recipe.pruning is not None:
            model = prune_exactly(model, example, recipe.pruning, units)
        if recipe.factorization is not None:
            model = factorize(model, recipe.factorization)
        if recipe.fold:
            model = fold_batch_norms(model, example)
    return model.eval()


class _Clock:
    """Times stages; what goes wrong in one fails the trial with its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        with failing_as(name):
            yield
        self.seconds[name] = time.perf_counter() - start
