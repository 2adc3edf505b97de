"""One training run, several candidates: which other recipes share the training of a given one.

Training costs most of a trial. What it leaves after some of its epochs, or at its end, can be
finished in more than one way without training again. Each such way is a recipe like any other, and
gives the same model when it is run from the start.
"""

import copy
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from autocompress.context import Context
from autocompress.graph import LowRank, Plan
from autocompress.pipeline import State
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Failure, TrialResult
from autocompress.targets import count_parameters
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.schedules import SCHEDULES, fraction_at
from autocompress.trial import TRAINING_STAGES, PrunedError, TrialCallback, run_trial

ENERGIES = (0.95, 0.9)  # kept by late factorization: a fifth to a third fewer parameters
MOST = 3  # per trial: each level keeps a copy of the weights while the trial runs
NEW = 0.1  # sparsity levels closer than this to another, as fractions of the target, add nothing


@dataclass(frozen=True)
class Derived:
    """Another recipe that shares training.

    Attributes:
        recipe: the whole recipe; it gives this candidate also when it is run by itself.
        epoch: after which epoch of the first training run it leaves the other, from 1; ``None``
            where it shares all training.
        fraction: of the other's sparsity that it has, in [0, 1].
    """

    recipe: Recipe
    epoch: int | None = None
    fraction: float = 1.0


def sparsity_levels(recipe: Recipe) -> list[Derived]:
    """Return the levels of sparsity that a first training run passes, from the highest down.

    None of them trains after surgery; batch norms are re-estimated.
    """
    training, settings = recipe.training, recipe.sparsification
    if settings is None or settings.rewind is not None or training.stop_after is not None:
        return []
    found: list[Derived] = []
    schedule = SCHEDULES[settings.schedule]
    above = schedule(1.0)
    for epoch in range(training.epochs - 1, 0, -1):
        fraction = fraction_at(schedule, epoch / training.epochs, settings.start, settings.end)
        if fraction <= above - NEW and fraction >= NEW:
            cut = replace(training, stop_after=epoch, recovery_epochs=0)
            found.append(Derived(replace(recipe, training=cut), epoch, fraction))
            above = fraction
    return found[:MOST]


def lower_ranks(recipe: Recipe, plan: Plan, exclude: Sequence[str]) -> list[Derived]:
    """Return a recipe with late factorizations, the mildest first, unless it is factorized.

    Args:
        recipe: what was trained.
        plan: what came of it.
        exclude: patterns of layers that stay.
    """
    if any(isinstance(step, LowRank) for step in plan.steps):
        return []
    late = [
        Factorization(energy=kept, convolution_energy=kept, exclude=tuple(exclude))
        for kept in ENERGIES
    ]
    return [Derived(replace(recipe, late_factorization=settings)) for settings in late]


def promising(
    found: Sequence[Derived], curve: Sequence[EpochRecord], *, sign: int = -1
) -> list[Derived]:
    """Leave out levels that are worse than the finished trial though less is removed.

    Args:
        found: levels of one recipe.
        curve: of the trial; its first run was evaluated, under masks, where levels are taken.
        sign: of the score: -1 where more is better, 1 where less is.
    """
    then = {record.epoch: record.score for record in curve if record.stage == "train"}
    end = sign * curve[-1].score
    return [level for level in found if level.epoch in then and sign * then[level.epoch] < end]


class KeepStates(TrialCallback):
    """Keeps the states that other candidates start from: after some epochs, and after recovery.

    Args:
        epochs: of the first training run, from 1.
        start: what the trial starts from.
    """

    def __init__(self, epochs: Collection[int], start: State) -> None:
        self.epochs, self.plan = epochs, start.plan
        self.after_epoch: dict[int, State] = {}
        self.trained: State | None = None

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Keep the model if it is one of the epochs."""
        if record.stage == "train" and record.epoch in self.epochs:
            self.after_epoch[record.epoch] = State(copy.deepcopy(model), self.plan, "train")

    def stage(self, state: State) -> None:
        """Keep the state after the last training."""
        if state.stage == "recover":
            self.trained = state


def derive(
    recipe: Recipe,
    result: TrialResult,
    kept: KeepStates,
    context: Context,
    *,
    name: str,
    seconds: float,
    best: bool,
) -> Iterator[TrialResult]:
    """Finish a trial's training run in other ways too, the most promising first.

    Args:
        recipe: of the trial.
        result: of the trial, complete.
        kept: its states.
        context: what all trials share.
        name: of the trial's folder; those of its derived candidates begin with it.
        seconds: how long that may take.
        best: whether no other trial is better: only then lower ranks are tried, since what is
            better than the trial would most likely be better than these too.

    Yields:
        the result of each candidate; a size that is there already is left out.
    """
    begin = time.perf_counter()
    each_s = sum(s for stage, s in result.seconds.items() if stage not in TRAINING_STAGES)
    sizes = {result.metrics["parameters"].value}
    sign = context.problem.task.score.sign
    wanted = promising(sparsity_levels(recipe), result.curve, sign=sign) if result.curve else []
    if best and kept.trained is not None:
        exclude = context.problem.config.search.exclude
        wanted = [*lower_ranks(recipe, kept.trained.plan, exclude), *wanted]
    for index, derived in enumerate(wanted, 1):
        if seconds - (time.perf_counter() - begin) < each_s:
            return
        context.monitor.batch()  # a request to stop ends the trial here too
        start = kept.trained if derived.epoch is None else kept.after_epoch[derived.epoch]
        size = _Once(sizes)
        found = run_trial(derived.recipe, context, [size], name=f"{name}.{index}", start=start)
        if found.state != "pruned":
            yield replace(found, fraction=derived.fraction)


class _Once(TrialCallback):
    """Ends a candidate of a size that is there already, as where no layer is worth factorizing."""

    def __init__(self, sizes: set[float]) -> None:
        self.sizes = sizes

    def made(self, state: State) -> None:
        """Compare its size with those that are there.

        Raises:
            PrunedError: there is one of this size.
        """
        size = count_parameters(state.model)
        if size in self.sizes:
            reason = f"a candidate with {size:,} parameters is there already"
            raise PrunedError(Failure(stage="estimate", reason=reason), {})
        self.sizes.add(size)
