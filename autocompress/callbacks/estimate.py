"""What a recipe leads to, before any training: its size, exactly or nearly, and its latency."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from autocompress.context import Context
from autocompress.errors import failing_as
from autocompress.evaluation import size_metrics
from autocompress.pipeline import State, compress
from autocompress.recipe import Recipe
from autocompress.results import Estimates, Failure
from autocompress.techniques.sparsification import Sparsification
from autocompress.trial import PrunedError, TrialCallback

BUDGET_S = 0.5  # of the measurement: latencies need to be right within some 10 % only


@dataclass(frozen=True, kw_only=True)
class StructureEstimate:
    """A candidate's structure, known before it is trained.

    Attributes:
        metrics: its sizes, and its latency where it was measured.
        exact: whether training cannot change the structure. Local ranking of whole units takes
            as many of each layer whatever the weights are; global ranking and ranks by energy
            depend on them.
    """

    metrics: Estimates
    exact: bool


def estimate_structure(
    recipe: Recipe, context: Context, *, latency: bool, start: State | None = None
) -> StructureEstimate:
    """Make a recipe's structure from the weights that it starts from, and measure it briefly.

    Args:
        recipe: what would be done.
        context: what all trials share.
        latency: whether its latency is measured too. On targets that take many seconds to
            prepare a model, and at other precisions than float32 and float16, it stays unknown.
        start: what it starts from; ``None``: the baseline.

    Raises:
        TrialError: the structure cannot be made.
    """
    with failing_as("estimate"):
        made = compress(start or context.start, recipe, context.work(dry=True))
        metrics = dict(size_metrics(made.model, context.problem.data.example[:1]))
        if latency and context.problem.target.quick and recipe.precision != "int8":
            evaluator = context.evaluator
            artifact = evaluator.prepare(made.model, recipe.precision)
            with closing(evaluator.open(artifact)) as session:
                metrics["latency_ms"] = evaluator.latency(session, budget_s=BUDGET_S).estimate
    return StructureEstimate(metrics=metrics, exact=is_exact(recipe))


def is_exact(recipe: Recipe) -> bool:
    """Return whether a recipe's structure does not depend on the weights that training finds."""
    by_energy = any(
        ranks is not None and (ranks.energy, ranks.convolution_energy) != (None, None)
        for ranks in (recipe.factorization, recipe.late_factorization)
    )
    sparse = recipe.sparsification
    unknown = by_energy or bool(recipe.extra)
    return not unknown and (sparse is None or recipe.pruning is None or _takes_units(sparse))


def _takes_units(settings: Sparsification) -> bool:
    return (
        settings.scope == "local"
        and (not _zeroes(settings.sparsity) or settings.granularity == "filter")
        and (not _zeroes(settings.linear_sparsity) or settings.linear_granularity == "row")
    )


def _zeroes(sparsity: float | Sequence[float] | Mapping[str, float]) -> bool:
    """Return whether a sparsity, of all layers or of each, is above 0 anywhere."""
    if isinstance(sparsity, Mapping):
        return any(sparsity.values())
    return any(sparsity) if isinstance(sparsity, Sequence) else sparsity > 0


class EstimateStructure(TrialCallback):
    """Estimates the structure before training, and ends a trial that surely breaks a limit.

    Only an estimate that training cannot change ends a trial: others may come out several times
    smaller.

    Attributes:
        found: the estimate; ``None`` where none was made.
    """

    def __init__(self, context: Context, start: State, *, for_stopping: bool) -> None:
        """Keep what is needed; nothing is estimated yet.

        Args:
            context: what all trials share.
            start: what the trial starts from.
            for_stopping: whether early stopping needs it.
        """
        self.context, self.start, self.for_stopping = context, start, for_stopping
        self.found: StructureEstimate | None = None

    def begin(self, recipe: Recipe) -> None:
        """Estimate the structure where that may save the training.

        Raises:
            PrunedError: it breaks a limit.
        """
        limits, on_latency = self.context.limits, self.context.limits.on("latency_ms")
        if not is_exact(recipe):
            return
        latency = self.for_stopping or on_latency
        if not (latency or limits.on("parameters")):
            return
        self.found = estimate_structure(recipe, self.context, latency=latency, start=self.start)
        metrics = self.found.metrics
        broken = limits.surely_broken(metrics, self.context.baseline_metrics)
        if broken:
            reason = f"an estimate of its structure is over the limit: {broken}"
            raise PrunedError(Failure(stage="estimate", reason=reason), metrics)
