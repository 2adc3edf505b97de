"""Fold batch norms into the layers beside them, along the edges of the graph."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autocompress.errors import VerificationError
from autocompress.graph.plan import Fold
from autocompress.graph.surgery import fold
from autocompress.graph.tracing import Inputs, trace
from autocompress.graph.verification import check_equal
from autocompress.short_repr import short_repr
from autocompress.techniques.fold_finding import find_folds
from autocompress.techniques.report import Report

TOLERANCE = 1e-9  # of folding itself, in float64; storing the result rounds to the model's dtype


@dataclass(frozen=True, slots=True)
class Folding:
    """How batch norms are folded: there is nothing to choose."""


@short_repr
@dataclass(frozen=True, kw_only=True)
class Folded(Report):
    """Which batch norms were, or can be, folded exactly.

    Attributes:
        steps: how, in order.
        kept: name of each other batch norm to the reason why it stays; empty where the steps were
            given.
    """

    steps: tuple[Fold, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)


def fold_batch_norms(
    model: nn.Module,
    settings: Folding | None = None,
    *,
    example: Inputs,
    steps: Sequence[Fold] | None = None,
) -> tuple[nn.Module, Folded]:
    """Return a copy of a model without the batch norms that can be folded; same outputs in eval.

    The foldings are checked in float64 and then done in the model's own precision.

    Args:
        model: what to copy.
        settings: they hold nothing yet.
        example: a batch, or a tuple of all positional arguments.
        steps: what :func:`foldable` found in a model of the same layers, of whatever widths;
            without them the model is traced.

    Returns:
        The new model, and which norms were folded, which stay and why.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
        VerificationError: the outputs would change, or folded weights overflow.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
        >>> folded, report = fold_batch_norms(model, example=torch.rand(1, 3, 8, 8))
        >>> report.sentences
        ('1: folded into 0',)
    """
    report = foldable(model, example) if steps is None else _report(tuple(steps), {})
    if not report.steps:
        return copy.deepcopy(model), report
    exact = copy.deepcopy(model).double()
    for step in report.steps:
        fold(exact, step)
    check_equal(model, exact, example, stage="fold", tolerance=TOLERANCE)
    del exact  # before another copy of a large model
    folded = copy.deepcopy(model)
    for step in report.steps:
        fold(folded, step)
    for name in dict.fromkeys(step.convolution for step in report.steps):
        tensors = folded.get_submodule(name).parameters(recurse=False)
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise VerificationError(f"fold: the folded weights of {name} are not finite")
    return folded, report


def _report(steps: tuple[Fold, ...], kept: Mapping[str, str]) -> Folded:
    into: dict[str, list[str]] = {}
    for step in steps:
        into.setdefault(step.norm, []).append(step.convolution)
    said = [f"{norm}: folded into {', '.join(layers)}" for norm, layers in into.items()]
    said += [f"{norm}: stays: {reason}" for norm, reason in kept.items()]
    return Folded(steps=steps, sentences=tuple(said), kept=kept)


def foldable(model: nn.Module, example: Inputs) -> Folded:
    """Find the batch norms that can be folded exactly, and say why the others stay.

    A batch norm folds into the layer before it, if nothing else reads that layer, or else into
    all layers after it, if nothing but they read the norm and none pads with zeros.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
    """
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return Folded()
    return _report(*find_folds(model, trace(model, example)))
