"""What makes a weight worth keeping: pure functions from statistics to scores, highest kept.

The parameters of a criterion name the statistics that it needs, and just these are gathered.
``CRITERIA.register`` adds another. All statistics but ``norm_scale`` have the weight's shape or
broadcast over it:

============== ====================================================================================
``weight``     the weight now
``initial``    the weight when sparsification began
``previous``   the weight at the mask update before this one, or when sparsification began
``saliency``   sum of abs(weight * gradient) over the backward passes since the last update
``input_norm`` L2 norm of the input that each weight reads, over training since the last update
``norm_scale`` abs of the factors of a batch norm, ``[channels]``: only units have one
``noise``      uniform in [0, 1), always the same for one weight and seed
============== ====================================================================================
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from autocompress.errors import ConfigurationError
from autocompress.registry import by_name, declare, declared, did_you_mean

Criterion = Callable[..., Tensor]
STATISTICS = ("weight", "initial", "previous", "saliency", "input_norm", "norm_scale", "noise")


def large_final(weight: Tensor) -> Tensor:
    """Keep large weights: abs(w), L1 when averaged over a group (Han et al. 2015)."""
    return weight.abs()


def squared_final(weight: Tensor) -> Tensor:
    """Keep groups of large energy: w^2, squared L2 when averaged over a group (He et al. 2018)."""
    return weight.square()


def small_final(weight: Tensor) -> Tensor:
    """Keep small weights, as a control: -abs(w) (Zhou et al. 2019, "small final")."""
    return -weight.abs()


def random(noise: Tensor) -> Tensor:
    """Keep by lot: uniform noise, drawn once per run (the usual control)."""
    return noise


def large_init(initial: Tensor) -> Tensor:
    """Keep what began large: abs(w0) (Zhou et al. 2019, "large init")."""
    return initial.abs()


def small_init(initial: Tensor) -> Tensor:
    """Keep what began small: -abs(w0) (Zhou et al. 2019, "small init")."""
    return -initial.abs()


def large_init_large_final(weight: Tensor, initial: Tensor) -> Tensor:
    """Keep what began and is large: min(abs(w), abs(w0)) (Zhou et al. 2019, alpha = 1)."""
    return torch.minimum(weight.abs(), initial.abs())


def small_init_small_final(weight: Tensor, initial: Tensor) -> Tensor:
    """Keep what began and is small: -max(abs(w), abs(w0)) (Zhou et al. 2019, alpha = 1)."""
    return -torch.maximum(weight.abs(), initial.abs())


@declare(measures_change=True)
def magnitude_increase(weight: Tensor, initial: Tensor) -> Tensor:
    """Keep what grew: abs(w) - abs(w0) (Zhou et al. 2019, "magnitude increase")."""
    return weight.abs() - initial.abs()


@declare(measures_change=True)
def movement(weight: Tensor, initial: Tensor) -> Tensor:
    """Keep what moved: abs(w - w0) (Zhou et al. 2019, "movement")."""
    return (weight - initial).abs()


@declare(measures_change=True)
def movmag(weight: Tensor, initial: Tensor) -> Tensor:
    """Keep what is large and moved: abs(w (w - w0)) (FasterAI's "movmag")."""
    return (weight * (weight - initial)).abs()


@declare(measures_change=True)
def updating_magnitude_increase(weight: Tensor, previous: Tensor) -> Tensor:
    """Keep what grew since the last update: abs(w) - abs(w_prev) (FasterAI)."""
    return weight.abs() - previous.abs()


@declare(measures_change=True)
def updating_movement(weight: Tensor, previous: Tensor) -> Tensor:
    """Keep what moved since the last update: abs(w - w_prev) (FasterAI)."""
    return (weight - previous).abs()


@declare(measures_change=True)
def updating_movmag(weight: Tensor, previous: Tensor) -> Tensor:
    """Keep what is large and moved since the last update: abs(w (w - w_prev)) (FasterAI)."""
    return (weight * (weight - previous)).abs()


def taylor(saliency: Tensor) -> Tensor:
    """Keep what the loss would miss, to first order: abs(w dL/dw) (Molchanov et al. 2019)."""
    return saliency


def batch_norm_scale(norm_scale: Tensor) -> Tensor:
    """Keep units with large batch-norm factors: abs(gamma) (Liu et al. 2017, network slimming)."""
    return norm_scale


def wanda(weight: Tensor, input_norm: Tensor) -> Tensor:
    """Keep large weights of strong inputs: abs(w) norm(x)_2 (Sun et al. 2023)."""
    return weight.abs() * input_norm


CRITERIA = by_name(
    "criterion",
    large_final,
    squared_final,
    small_final,
    random,
    large_init,
    small_init,
    large_init_large_final,
    small_init_small_final,
    magnitude_increase,
    movement,
    movmag,
    updating_magnitude_increase,
    updating_movement,
    updating_movmag,
    taylor,
    batch_norm_scale,
    wanda,
)


def needs(criterion: Criterion) -> frozenset[str]:
    """Return the names of the statistics that a criterion needs.

    Raises:
        ConfigurationError: one of its parameters is not in ``STATISTICS``.
    """
    wanted = inspect.signature(criterion).parameters
    unknown = [name for name in wanted if name not in STATISTICS]
    if unknown:
        raise ConfigurationError(
            f"the criterion {criterion.__name__} wants {name!r}{did_you_mean(name, STATISTICS)}; "
            f"there are: {', '.join(STATISTICS)}"
            for name in unknown
        )
    return frozenset(wanted)


def measures_change(criterion: Criterion) -> bool:
    """Return whether a criterion cannot tell weights apart before the first training step."""
    return bool(declared(criterion, "measures_change", default=False))


def scores_units_only(criterion: Criterion) -> bool:
    """Return whether a criterion scores whole units and has no score for a single weight."""
    return "norm_scale" in needs(criterion)
