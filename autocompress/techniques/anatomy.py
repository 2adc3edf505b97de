"""What surgery can do to an architecture: found once, used by every recipe."""

from dataclasses import dataclass

from torch import nn

from autocompress.graph import Fold, Units, find_units
from autocompress.graph.tracing import Inputs
from autocompress.techniques.folding import foldable


@dataclass(frozen=True)
class Anatomy:
    """What surgery can do to an architecture, whatever its weights are.

    Attributes:
        units: what can be removed.
        folds: which batch norms can be folded into which layers; still true after units were
            removed, but not after layers were replaced.
    """

    units: Units
    folds: tuple[Fold, ...]


def examine(model: nn.Module, example_inputs: Inputs) -> Anatomy:
    """Find what surgery can do to a model.

    Args:
        model: it is not changed.
        example_inputs: a batch, or a tuple of all positional arguments.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
    """
    return Anatomy(find_units(model, example_inputs), foldable(model, example_inputs).steps)
