"""What surgery can do to an architecture: found once, used by every recipe."""

from dataclasses import dataclass, replace

from torch import nn

from autocompress.graph import Fold, LowRank, Plan, Units, find_units
from autocompress.graph.tracing import Inputs
from autocompress.techniques.folding import foldable


@dataclass(frozen=True)
class Anatomy:
    """What surgery can do to an architecture, whatever its weights are.

    Attributes:
        units: what can be removed.
        folds: which batch norms can be folded into which layers.
    """

    units: Units
    folds: tuple[Fold, ...]

    def folds_after(self, plan: Plan) -> tuple[Fold, ...]:
        """Return the foldings of a model that a plan made of this architecture.

        Removing units changes nothing of them; the norm of a factorized layer folds into that of
        its two factors which is beside it.
        """
        folds = self.folds
        for step in plan.steps:
            if isinstance(step, LowRank):
                folds = tuple(_into_factor(fold, step) for fold in folds)
        return folds


def _into_factor(fold: Fold, step: LowRank) -> Fold:
    if fold.convolution != step.module:
        return fold
    return replace(fold, convolution=f"{step.module}.{1 if fold.order == 'after' else 0}")


def examine(model: nn.Module, example_inputs: Inputs) -> Anatomy:
    """Find what surgery can do to a model.

    Args:
        model: it is not changed.
        example_inputs: a batch, or a tuple of all positional arguments.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
    """
    return Anatomy(find_units(model, example_inputs), foldable(model, example_inputs).steps)
