"""Drive weights to zero: which, how many, and when. Knows masks, not training loops."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from autocompress.errors import UsageError
from autocompress.graph import UnitGroup, Units, find_units
from autocompress.graph.tracing import Inputs, as_arguments, check_copyable
from autocompress.settings import check, setting
from autocompress.short_repr import short_repr
from autocompress.techniques.criteria import CRITERIA, measures_change, needs
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.modes import eval_mode
from autocompress.techniques.schedules import SCHEDULES
from autocompress.techniques.sparsifier import Sparsified, Sparsifier
from autocompress.techniques.sparsity_targets import LayerSettings, Scope, Sparsities, asks

__all__ = ["Scope", "Sparsification", "Sparsified", "Sparsifier", "Sparsities", "sparsify"]

_SPARSITY: dict[str, Any] = {
    "low": 0,
    "high": 1,
    "parts": ("early", "middle", "late"),
    "off": 0.0,
    "switch": True,
}


def _starts_before_end(start: float, end: float) -> str:
    return "" if start <= end else f"start: expected at most end ({end}), got {start}"


def _rewinds_before_end(rewind: float | None, start: float, end: float) -> str:
    if rewind is None or start > end or rewind < end < 1:
        return ""
    return (
        "rewind: expected a training progress in [0, end) with end < 1, so that training "
        f"goes on from the rewound weights; got {rewind!r} with end {end}"
    )


@short_repr
@dataclass(frozen=True, kw_only=True, slots=True)
class Sparsification:
    """What to drive to zero, and when.

    A sparsity is the fraction of groups (of the granularity) that are zero in the end, in [0, 1];
    three values are for the early, middle and late third of the layers, and a mapping has one for
    each unit group (or layer, for granularities of weights) that it names; all others stay whole.
    One group of each layer or unit group is always left.

    Attributes:
        sparsity: of convolutions.
        granularity: a name of ``CONVOLUTION_GRANULARITIES``; ``filter`` works on units.
        linear_sparsity: of linear layers.
        linear_granularity: a name of ``LINEAR_GRANULARITIES``; ``row`` works on units.
        scope: rank in each layer or unit group (``local``) or in all of the same kind and sparsity
            (``global``); what a mapping names is ranked by itself.
        criterion: a name of ``CRITERIA``.
        schedule: a name of ``SCHEDULES``.
        start: training progress in [0, end] at which the schedule begins.
        end: training progress in [start, 1] at which it has ended.
        exclude: names or ``fnmatch`` patterns of layers, or of modules with layers, to keep out.
        rewind: training progress in [0, end) whose weights return, masked, when the schedule has
            ended (lottery tickets, Frankle & Carbin 2019); None: weights are never rewound.

    Raises:
        ConfigurationError: names everything that is wrong.
    """

    sparsity: Sparsities = setting(
        0.5, help="fraction of the convolutions' groups to zero", **_SPARSITY
    )
    granularity: str = setting(
        "filter",
        help="what stands or falls together in a convolution",
        names=CONVOLUTION_GRANULARITIES,
        active=lambda values: asks(values["sparsity"]),
    )
    linear_sparsity: Sparsities = setting(
        0.0, help="fraction of the linear layers' groups to zero", **_SPARSITY
    )
    linear_granularity: str = setting(
        "row",
        help="what stands or falls together in a linear layer",
        names=LINEAR_GRANULARITIES,
        active=lambda values: asks(values["linear_sparsity"]),
    )
    scope: Scope = setting("local", help="rank in each layer, or in all")
    criterion: str = setting("large_final", help="what counts as unimportant", names=CRITERIA)
    schedule: str = setting("cosine", help="how sparsity grows in training", names=SCHEDULES)
    start: float = setting(
        0.0, help="share of the training after which sparsity begins to grow", low=0, high=1
    )
    end: float = setting(
        1.0, help="share of the training by which sparsity is reached", low=0, high=1
    )
    exclude: tuple[str, ...] = setting((), help="patterns of layers to keep out")
    rewind: float | None = setting(
        None,
        help="training progress, before the end, whose weights then return",
        low=0,
        high=1,
        off=1.0,
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _starts_before_end, _rewinds_before_end)

    @property
    def by_kind(self) -> tuple[LayerSettings, LayerSettings]:
        """What is asked of convolutions and of linear layers."""
        return (
            LayerSettings("convolution", self.sparsity, self.granularity),
            LayerSettings("linear", self.linear_sparsity, self.linear_granularity),
        )


def sparsify(
    model: nn.Module,
    settings: Sparsification,
    *,
    example: Inputs | None = None,
    units: Units | Sequence[UnitGroup] | None = None,
    seed: int = 0,
) -> tuple[nn.Module, Sparsified]:
    """Return a copy of a model with the sparsity that the schedule ends at; trains nothing.

    Without training there is no movement to measure: a criterion that measures change gives way
    to ``large_final``. Without labels, ``taylor`` takes the gradients of each sample's largest
    output.

    Args:
        model: what to copy.
        settings: what to zero; ``start``, ``end`` and ``rewind`` mean nothing here.
        example: a batch, or a tuple of all positional arguments; needed by ``taylor`` and
            ``wanda``, and to find units.
        units: the model's units; found if needed and not given.
        seed: of the criterion ``random``.

    Returns:
        The sparse model, and what became of each layer or unit group.

    Raises:
        ConfigurationError: nothing in the model can follow the settings.
        UsageError: an ``example`` is needed and missing.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> sparse, report = sparsify(model, Sparsification(), example=torch.rand(1, 3, 8, 8))
        >>> report.sentences[0]
        '0: 50 % are zero'
    """
    if measures_change(CRITERIA[settings.criterion]):
        settings = replace(settings, criterion="large_final")
    settings = replace(settings, rewind=None)
    check_copyable(model)
    sparse = copy.deepcopy(model)
    if units is None:
        units = () if example is None else find_units(sparse, example)
    with Sparsifier(sparse, settings, units, seed=seed) as sparsifier:
        if {"saliency", "input_norm"} & needs(CRITERIA[settings.criterion]):
            if example is None:
                raise UsageError(f"the criterion {settings.criterion} needs an example")
            _show(sparse, example)
            sparsifier.after_backward()
        sparsifier.update(1.0)
    sparse.zero_grad(set_to_none=True)
    return sparse, sparsifier.report


def _show(model: nn.Module, example: Inputs) -> None:
    """Run a model forward and backward from each sample's largest output."""
    with torch.enable_grad(), eval_mode(model):
        outputs = [t for t in tree_leaves(model(*as_arguments(example))) if t.requires_grad]
        if outputs:
            sum(output.flatten(1).amax(1).sum() for output in outputs).backward()
