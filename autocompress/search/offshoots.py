"""One training run, several candidates: which other recipes share the training of a given one.

Training costs most of a trial. What it leaves after some of its epochs, or at its end, can be
finished in more than one way without training again. Each such way is a recipe like any other, and
gives the same model when it is run from the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autocompress.graph import LowRank, Plan
from autocompress.pipeline import Curve
from autocompress.recipe import Recipe
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.schedules import SCHEDULES, fraction_at

ENERGIES = (0.95, 0.9)  # kept by late factorization: a fifth to a third fewer parameters
MOST = 3  # per trial: each level keeps a copy of the weights while the trial runs
NEW = 0.1  # sparsity levels closer than this to another, as fractions of the target, are no news


@dataclass(frozen=True)
class Offshoot:
    """Another recipe that shares training.

    Attributes:
        recipe: the whole recipe; it gives this candidate also when it is run by itself.
        epoch: after which epoch of the first training run its trunk is taken, from 1; ``None``
            where it shares all training.
        fraction: of the parent's sparsity that it has, in [0, 1].
    """

    recipe: Recipe
    epoch: int | None = None
    fraction: float = 1.0


def levels(recipe: Recipe) -> list[Offshoot]:
    """Return the levels of sparsity that a first training run passes, from the highest down.

    None of them trains after surgery; batch norms are re-estimated.
    """
    training, settings = recipe.training, recipe.sparsification
    if settings is None or settings.rewind is not None or training.stop_after is not None:
        return []
    found: list[Offshoot] = []
    schedule = SCHEDULES[settings.schedule]
    above = schedule(1.0)
    for epoch in range(training.epochs - 1, 0, -1):
        fraction = fraction_at(schedule, epoch / training.epochs, settings.start, settings.end)
        if fraction <= above - NEW and fraction >= NEW:
            cut = replace(training, stop_after=epoch, recovery_epochs=0)
            found.append(Offshoot(replace(recipe, training=cut), epoch, fraction))
            above = fraction
    return found[:MOST]


def lower_ranks(recipe: Recipe, plan: Plan, exclude: Sequence[str]) -> list[Offshoot]:
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
    return [Offshoot(replace(recipe, late_factorization=settings)) for settings in late]


def promising(found: Sequence[Offshoot], curve: Curve) -> list[Offshoot]:
    """Leave out levels that their parent beats: no more accurate, though less is removed.

    Args:
        found: levels of one recipe.
        curve: of the parent; its first run was evaluated, under masks, where levels are taken.
    """
    then = {record.epoch: record.accuracy for record in curve if record.stage == "sparsify"}
    return [level for level in found if then.get(level.epoch or 0, 0.0) > curve[-1].accuracy]
