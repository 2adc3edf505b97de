"""How sparsity grows: functions from progress in [0, 1] to a fraction of the target in [0, 1].

A schedule is pure and knows nothing of when it starts or ends: ``fraction_at`` places it in its
window of the training run. Every schedule rises and ends at the target, except those that declare
``returns_to_dense``. ``SCHEDULES.register`` adds another.
"""

import math
from collections.abc import Callable

from autocompress.registry import by_name, declare, declared

Schedule = Callable[[float], float]


def one_shot(progress: float) -> float:
    """Be at the target from the start of the window on: 1."""
    return 1.0


def iterative(progress: float) -> float:
    """Climb in three equal steps: ceil(3 p) / 3 (Han et al. 2015, prune and retrain in turns)."""
    return math.ceil(3 * progress) / 3


def agp(progress: float) -> float:
    """Climb fast, then slowly: 1 - (1 - p)^3 (Zhu & Gupta 2017, eq. 1)."""
    return 1.0 - (1.0 - progress) ** 3


def one_cycle(progress: float) -> float:
    """Climb like a logistic curve: (1 + e^(b-a)) / (1 + e^(b-a p)), a = 14, b = 5.

    Source: Hubens et al. 2021, "One-Cycle Pruning". At p = 0 it is 0.007.
    """
    steepness, offset = 14.0, 5.0
    return (1.0 + math.exp(offset - steepness)) / (1.0 + math.exp(offset - steepness * progress))


def cosine(progress: float) -> float:
    """Climb along half a cosine: (1 - cos(pi p)) / 2."""
    return (1.0 - math.cos(math.pi * progress)) / 2


def linear(progress: float) -> float:
    """Climb evenly: p."""
    return progress


@declare(returns_to_dense=True)
def dsd(progress: float) -> float:
    """Train dense, sparse, dense, a third each: 0, then 1, then 0 again (Han et al. 2017).

    As in the paper, the weights are pruned at once and the constraint is lifted at once. It ends
    dense, so it regularizes and leaves nothing to remove.
    """
    return 1.0 if 1 / 3 <= progress < 2 / 3 else 0.0


SCHEDULES = by_name("schedule", one_shot, iterative, agp, one_cycle, cosine, linear, dsd)


def returns_to_dense(schedule: Schedule) -> bool:
    """Return whether a schedule ends at 0; all others never fall and end at 1."""
    return bool(declared(schedule, "returns_to_dense", default=False))


def fraction_at(schedule: Schedule, progress: float, start: float, end: float) -> float:
    """Return the fraction of the target that is due at a point of the training run.

    Args:
        schedule: an entry of ``SCHEDULES``.
        progress: of the training run, in [0, 1].
        start: progress at which the schedule begins, in [0, end]; before it, the fraction is 0.
        end: progress at which it has ended, in [start, 1]; after it, its last value holds.
    """
    if progress < start:
        return 0.0
    if progress >= end:
        return schedule(1.0)
    return schedule((progress - start) / (end - start))
