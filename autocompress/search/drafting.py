"""What a recipe leads to, before any training: its size, exactly or nearly, and its speed."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from autocompress.conversion.half import Half
from autocompress.errors import failing_as
from autocompress.measurement.latency import Ruler
from autocompress.measurement.size import count_parameters
from autocompress.pipeline import draft
from autocompress.recipe import Recipe
from autocompress.techniques.anatomy import Anatomy
from autocompress.techniques.sparsification import Sparsification

BUDGET_S = 0.5  # of the draft's measurement: latencies need to be right within some 10 % only
QUICK_RUNTIMES = frozenset({"torch", "cuda-graph"})  # others export or compile for many seconds


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A candidate's structure, known before it is trained.

    Attributes:
        parameters: of the structure.
        parameter_ratio: as a fraction of the baseline's.
        latency_ms: milliseconds per call; ``None`` where it was not measured.
        latency_ratio: as a fraction of the baseline's.
        exact: whether training cannot change the structure. Local ranking of whole units takes
            as many of each layer whatever the weights are; global ranking and ranks by energy
            depend on them, so that the draft is an estimate.
    """

    parameters: int
    parameter_ratio: float
    latency_ms: float | None
    latency_ratio: float | None
    exact: bool

    @property
    def metrics(self) -> dict[str, Any]:
        """What is known, by the names of a candidate's metrics."""
        return {name: v for name, v in asdict(self).items() if v is not None and name != "exact"}


def make_draft(
    baseline: nn.Module,
    recipe: Recipe,
    example: torch.Tensor,
    anatomy: Anatomy,
    ruler: Ruler | None,
) -> Draft:
    """Draw a recipe's structure from the baseline's weights, and measure it briefly.

    Args:
        baseline: the trained network.
        recipe: what would be done to it.
        example: a batch of images, on the device.
        anatomy: the baseline's.
        ruler: measures candidates at the recipe's precision; without one, and with runtimes that
            take many seconds to prepare a model (as int8 does), the latency stays unknown.

    Raises:
        TrialError: the structure cannot be made.
    """
    model = draft(baseline, recipe, example, anatomy)
    latency = None
    if ruler is not None and ruler.runtime in QUICK_RUNTIMES:
        with failing_as("draft"):
            deployed = Half(model) if recipe.precision == "fp16" else model
            latency = ruler.measure(deployed, budget_s=BUDGET_S)
    parameters = count_parameters(model)
    return Draft(
        parameters=parameters,
        parameter_ratio=parameters / count_parameters(baseline),
        latency_ms=None if latency is None else latency.latency_ms,
        latency_ratio=None if latency is None else latency.ratio,
        exact=is_exact(recipe),
    )


def is_exact(recipe: Recipe) -> bool:
    """Tell whether a recipe's structure does not depend on the weights that training finds."""
    by_energy = any(
        ranks is not None and (ranks.energy, ranks.convolution_energy) != (None, None)
        for ranks in (recipe.factorization, recipe.late_factorization)
    )
    sparse = recipe.sparsification
    return not by_energy and (sparse is None or recipe.pruning is None or _takes_units(sparse))


def _takes_units(settings: Sparsification) -> bool:
    convolutions, linear = (max(request.sparsity) > 0 for request in settings.requests)
    return (
        settings.scope == "local"
        and (not convolutions or settings.granularity == "filter")
        and (not linear or settings.linear_granularity == "row")
    )
