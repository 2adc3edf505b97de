"""One training run, several candidates: which other recipes share the run of a given one.

A recipe's first training run costs most of a trial. What it leaves after some of its epochs, or
at its end, can be finished in more than one way without training again. Each such way is a recipe
like any other, and gives the same model when it is run from the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from autocompress.recipe import Recipe
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.schedules import SCHEDULES, fraction_at

SHARE = 0.1  # of a trial's time that its harvest may cost
RANKS = (0.5, 0.25)  # of linear layers, tried on a trunk besides the recipe's own
MOST = 3  # per trial: each may keep a copy of the weights while the trial runs
NEW = 0.1  # sparsity levels closer than this to another, as fractions of the target, are no news


@dataclass(frozen=True)
class Offshoot:
    """Another recipe that shares a training run.

    Attributes:
        epoch: after which of the run's epochs the trunk is taken, from 1.
        fraction: of the recipe's sparsity that is reached by then, in [0, 1].
        recipe: the whole recipe; it gives this candidate also when it is run by itself.
    """

    epoch: int
    fraction: float
    recipe: Recipe


def offshoots(recipe: Recipe) -> list[Offshoot]:
    """Return what else a recipe's first training run can be finished to, most promising first.

    None of them trains after surgery; batch norms are re-estimated. Levels of sparsity on the
    way, from the highest down, keep more accuracy than the recipe's own; lower ranks of the
    linear layers at the run's end save more parameters.
    """
    epochs = recipe.training.epochs
    if recipe.training.stop_after is not None or epochs == 0:
        return []
    pairs = zip_longest(_levels(recipe, epochs), _ranks(recipe, epochs))
    return [one for pair in pairs for one in pair if one is not None][:MOST]


def _levels(recipe: Recipe, epochs: int) -> list[Offshoot]:
    settings = recipe.sparsification
    if settings is None or settings.rewind is not None:
        return []
    found: list[Offshoot] = []
    schedule = SCHEDULES[settings.schedule]
    above = schedule(1.0)
    for epoch in range(epochs - 1, 0, -1):
        fraction = fraction_at(schedule, epoch / epochs, settings.start, settings.end)
        if fraction <= above - NEW and fraction >= NEW:
            training = replace(recipe.training, stop_after=epoch, recovery_epochs=0)
            found.append(Offshoot(epoch, fraction, replace(recipe, training=training)))
            above = fraction
    return found


def _ranks(recipe: Recipe, epochs: int) -> list[Offshoot]:
    own = recipe.factorization
    if own is not None and own.energy is not None:
        return []
    kept = 1.0 if own is None or own.rank is None else own.rank
    training = replace(recipe.training, recovery_epochs=0)
    found = []
    for rank in RANKS:
        if rank < kept:
            lower = Factorization(rank=rank) if own is None else replace(own, rank=rank)
            found.append(
                Offshoot(epochs, 1.0, replace(recipe, factorization=lower, training=training))
            )
    return found


def affordable(wanted: Sequence[Offshoot], trial_s: float, each_s: float) -> Sequence[Offshoot]:
    """Return the first of them that fit into a tenth of the trial's time.

    Args:
        wanted: the most promising first.
        trial_s: seconds that the trial took.
        each_s: seconds that one of them is expected to take: surgery, evaluation, measuring.
    """
    return wanted[: int(SHARE * trial_s / each_s)] if each_s > 0 else wanted
