"""Replace layers by two thinner ones, wherever that saves parameters."""

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from autocompress.errors import UsageError
from autocompress.graph.plan import LowRank, LowRankKind
from autocompress.graph.surgery import replace_low_rank
from autocompress.graph.tracing import Inputs, as_arguments
from autocompress.settings import check, setting
from autocompress.short_repr import short_repr
from autocompress.techniques.decomposition import FORMS, Spectrum, shrunk_moment, spectrum
from autocompress.techniques.layers import shares_tensors
from autocompress.techniques.modes import eval_mode
from autocompress.techniques.report import Report
from autocompress.techniques.validation import (
    check_patterns,
    matching_pattern,
)

_KEPT: dict[str, Any] = {"low": 0, "above": True, "high": 1, "off": 1.0, "switch": True}


def _something_is_asked(
    rank: float | None,
    energy: float | None,
    convolution_rank: float | None,
    convolution_energy: float | None,
) -> str:
    if any(kept is not None for kept in (rank, energy, convolution_rank, convolution_energy)):
        return ""
    return "nothing to factorize: give one of rank, energy, convolution_rank, convolution_energy"


def _not_both(name: str, rank: float | None, energy: float | None) -> str:
    if rank is None or energy is None:
        return ""
    return f"{name}: give either {name} or {name.replace('rank', 'energy')}, not both"


@short_repr
@dataclass(frozen=True, kw_only=True, slots=True)
class Factorization:
    """Which layers to replace, and at which rank.

    The full rank of a weight is the smaller side of the matrix that is cut. For linear layers and
    for convolutions, either a fraction of the full rank is kept (``round(fraction * full)``
    singular values) or the lowest rank that keeps a fraction of the energy (summed
    squares of the singular values).

    Attributes:
        rank: fraction of the full rank of linear layers, in (0, 1]; None: by energy or not at all.
        convolution_rank: the same for 2-D convolutions without groups.
        energy: fraction of the energy of linear layers, in (0, 1]; None: by rank or not at all.
        convolution_energy: the same for convolutions.
        convolution_kind: ``channel`` (k x k to few channels, then 1x1) or ``spatial`` (k x 1, then
            1 x k) for kernels above 1x1; those of 1x1 become two of 1x1.
        min_rank: lowest rank to cut to, at least 1: a classifier of ten classes has full rank 10,
            and at a quarter of it could not tell them apart, for next to no parameters saved.
        exclude: names or ``fnmatch`` patterns of layers, or of modules with layers, to keep.

    Raises:
        ConfigurationError: names everything that is wrong.
    """

    rank: float | None = setting(
        None, help="share of singular values kept in linear layers", yields_to="energy", **_KEPT
    )
    convolution_rank: float | None = setting(
        None, help="the same in convolutions", yields_to="convolution_energy", **_KEPT
    )
    energy: float | None = setting(
        None, help="energy kept in linear layers, instead of rank", **_KEPT
    )
    convolution_energy: float | None = setting(None, help="the same in convolutions", **_KEPT)
    convolution_kind: Literal["channel", "spatial"] = setting(
        "channel",
        help="how a convolution is factorized",
        active=lambda values: (
            (values["convolution_rank"], values["convolution_energy"]) != (None, None)
        ),
    )
    min_rank: int = setting(16, help="lowest rank to cut to", low=1)
    exclude: tuple[str, ...] = setting((), help="patterns of layers to keep")

    def __post_init__(self) -> None:
        """Check every field."""
        check(
            self,
            _something_is_asked,
            lambda: _not_both("rank", self.rank, self.energy),
            lambda: _not_both("convolution_rank", self.convolution_rank, self.convolution_energy),
        )

    def wants(self, layer: nn.Module) -> bool:
        """Return whether layers of this type are to be factorized."""
        if isinstance(layer, nn.Linear):
            return (self.rank, self.energy) != (None, None)
        convolution = isinstance(layer, _ConvNd)
        return convolution and (self.convolution_rank, self.convolution_energy) != (None, None)

    def rank_of(self, layer: nn.Module, found: Spectrum) -> int:
        """Return the rank to keep of a layer with this spectrum."""
        linear = isinstance(layer, nn.Linear)
        fraction = self.rank if linear else self.convolution_rank
        energy = self.energy if linear else self.convolution_energy
        full = len(found.energy)
        kept = round((fraction or 1.0) * full) if energy is None else found.rank_for(energy)
        return max(kept, min(self.min_rank, full))


@dataclass(frozen=True)
class Decision:
    """What becomes of one layer.

    Attributes:
        module: the layer's name.
        step: how it is replaced, or None if it is left.
        reason: why it is left, else empty.
        parameters: of its weight, before and after; 0 where they were not counted.
        full_rank: the smaller side of its matrix; 0 where there is none to cut.
        weighted: whether the calibration data weighed its inputs.
    """

    module: str
    step: LowRank | None
    reason: str = ""
    parameters: tuple[int, int] = (0, 0)
    full_rank: int = 0
    weighted: bool = False

    @property
    def says(self) -> str:
        """What becomes of it, or why it is left."""
        if self.step is None:
            return f"left: {self.reason}"
        before, after = self.parameters
        rank = f"rank {self.step.rank} of {self.full_rank}"
        return f"{rank}, {after} parameters in place of {before}"


@short_repr
@dataclass(frozen=True, kw_only=True)
class Factorized(Report):
    """What factorization did.

    Attributes:
        decisions: what became of each layer that the settings want.
    """

    decisions: tuple[Decision, ...]


def factorize(
    model: nn.Module, settings: Factorization, *, example: Inputs | None = None
) -> tuple[nn.Module, Factorized]:
    """Return a copy of a model whose layers are replaced wherever that saves parameters.

    Args:
        model: what to copy.
        settings: which layers, and at which rank.
        example: a batch for calibration, or a tuple of all positional arguments. The inputs that
            the layers get from it weigh the errors (but in ``spatial``), as far as the batch is
            large enough to measure that; None: all inputs count alike.

    Returns:
        The new model, and what became of each layer.

    Raises:
        ConfigurationError: a pattern to keep layers matches none.
        UsageError: a weight is not finite.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
        >>> thin, report = factorize(model, Factorization(rank=0.25))
        >>> report.sentences[0]
        '0: rank 16 of 64, 2048 parameters in place of 4096'
    """
    thin = copy.deepcopy(model)
    decided = _decided(model, settings, example)
    for decision, factors in decided:
        if decision.step is not None:
            replace_low_rank(thin, decision.step, factors)
    decisions = tuple(decision for decision, _ in decided)
    return thin, Factorized(
        steps=tuple(decision.step for decision in decisions if decision.step is not None),
        sentences=tuple(f"{decision.module}: {decision.says}" for decision in decisions),
        decisions=decisions,
    )


def _decided(
    model: nn.Module, settings: Factorization, example: Inputs | None
) -> list[tuple[Decision, tuple[Tensor, ...]]]:
    check_patterns(model, settings.exclude)
    wanted = {name: layer for name, layer in model.named_modules() if settings.wants(layer)}
    reasons = {name: _why_not(model, name, settings) for name in wanted}
    layers = {name: layer for name, layer in wanted.items() if reasons[name] is None}
    moments = {} if example is None else _output_moments(model, layers, example)
    return [
        (Decision(name, None, reason), ())
        if (reason := reasons[name]) is not None
        else _cut(name, layer, settings, moments.get(name))
        for name, layer in wanted.items()
    ]


def _why_not(model: nn.Module, name: str, settings: Factorization) -> str | None:
    """Return why a layer cannot be replaced, whatever its rank."""
    layer = model.get_submodule(name)
    parent = model.get_submodule(name.rpartition(".")[0])
    pattern = matching_pattern(name, settings.exclude)
    if pattern is not None:
        return f"kept out by {pattern!r}"
    if not name:
        return "the model is this very layer"
    if isinstance(layer, _ConvNd) and not (isinstance(layer, nn.Conv2d) and layer.groups == 1):
        return "only 2-D convolutions without groups can be factorized"
    if not isinstance(parent, nn.Module) or hasattr(parent, "in_proj_weight"):
        return "its attention reads it directly"
    if "weight" not in layer._parameters:
        return "its weight is computed from other parameters"
    if layer in shares_tensors(model):
        return "it shares its tensors with another layer"
    return None


def _cut(
    name: str, layer: nn.Module, settings: Factorization, seen: "_Moment | None"
) -> tuple[Decision, tuple[Tensor, ...]]:
    """Decompose a layer's weight, unless it would not shrink."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not bool(weight.isfinite().all()):
        raise UsageError(f"cannot factorize {name}: its weight holds NaN or infinite values")
    kind = _kind(layer, settings)
    form = FORMS[kind]
    matrix = form.matrix(weight.detach())
    weighted = form.rows_are_outputs and seen is not None
    moment = shrunk_moment(matrix, seen.mean, seen.samples) if weighted and seen else None
    found = spectrum(matrix, moment)
    rank, full_rank = settings.rank_of(layer, found), len(found.energy)
    counts = weight.numel(), rank * sum(matrix.shape)
    if counts[1] >= counts[0]:
        reason = f"rank {rank} would take {counts[1]} parameters in place of {counts[0]}"
        return Decision(name, None, reason, counts, full_rank, weighted), ()
    first, second = found.factors(rank)
    factors = form.first(first, weight.shape), form.second(second, weight.shape)
    return Decision(name, LowRank(name, kind, rank), "", counts, full_rank, weighted), factors


def _kind(layer: nn.Module, settings: Factorization) -> LowRankKind:
    if isinstance(layer, nn.Conv2d):
        return "pointwise" if tuple(layer.kernel_size) == (1, 1) else settings.convolution_kind
    return "linear"


class _Moment:
    """The running sum of ``y y^T`` over a layer's outputs ``y`` without their bias."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.samples = 0

    @property
    def mean(self) -> Tensor:
        assert self.total is not None
        return self.total / self.samples

    def add(self, layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        axis = 1 if isinstance(layer, nn.Conv2d) and output.dim() == 4 else -1
        rows = output.detach().movedim(axis, -1).flatten(0, -2).double()
        if isinstance(layer.bias, Tensor):
            rows = rows - layer.bias.detach().double()
        moment = rows.T @ rows
        self.total = moment if self.total is None else self.total + moment
        self.samples += len(rows)


def _output_moments(
    model: nn.Module, layers: Mapping[str, nn.Module], example: Inputs
) -> dict[str, _Moment]:
    """Run the calibration batch; layers that it does not reach are left out."""
    moments = {name: _Moment() for name in layers}
    with torch.no_grad(), eval_mode(model), ExitStack() as stack:
        for name, layer in layers.items():
            handle = layer.register_forward_hook(partial(_Moment.add, moments[name]))
            stack.callback(handle.remove)
        model(*as_arguments(example))
    return {name: moment for name, moment in moments.items() if moment.samples}
