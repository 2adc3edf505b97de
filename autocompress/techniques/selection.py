"""Which targets a sparsification has in a model, and why the others are left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.graph import Member, UnitGroup, Units
from autocompress.graph.tracing import named_tensors
from autocompress.techniques.criteria import Criterion, needs, scores_units_only
from autocompress.techniques.granularity import (
    CONVOLUTION_GRANULARITIES,
    LINEAR_GRANULARITIES,
    UNIT_GRANULARITIES,
)
from autocompress.techniques.layers import Kind, Layer, find_layers
from autocompress.techniques.targets import LayerTarget, Target, UnitTarget, norm_weights
from autocompress.techniques.validation import check_patterns, matching_pattern

Verdict = tuple[Target, str | None]  # and why it is left alone, if it is


@dataclass(frozen=True)
class Request:
    """What is asked of the layers of one kind.

    Attributes:
        kind: of the layers.
        sparsity: of the early, middle and late third, each in [0, 1].
        granularity: its name.
    """

    kind: Kind
    sparsity: tuple[float, float, float]
    granularity: str

    @property
    def works_on_units(self) -> bool:
        """Whether units are zeroed rather than groups of one weight."""
        return UNIT_GRANULARITIES[self.kind] == self.granularity


@dataclass(frozen=True)
class Aim:
    """A target and the sparsity that it should reach."""

    target: Target
    sparsity: float


class Selection:
    """The aims of a sparsification.

    Args:
        model: what is to be sparsified; it is not changed.
        units: its units; the granularities ``filter`` and ``row`` need them.
        criterion: what will score the targets.
        exclude: patterns of layers to keep out.

    Attributes:
        aims: what ``add`` found, in order.
        skipped: name of a layer or unit group that is left alone, to the reason.
    """

    def __init__(
        self,
        model: nn.Module,
        units: Units | Sequence[UnitGroup],
        criterion: Criterion,
        exclude: tuple[str, ...],
    ) -> None:
        check_patterns(model, exclude)
        self.aims: list[Aim] = []
        self.skipped: dict[str, str] = {}
        self.tensors: Mapping[str, Tensor] = named_tensors(model)
        self._layers, self._unusable = find_layers(model)
        self._units, self._criterion, self._exclude = units, criterion, exclude

    @property
    def layers(self) -> dict[str, Layer]:
        """All layers, by the canonical names of their weights."""
        return {layer.parameter: layer for layer in self._layers}

    def add(self, request: Request) -> None:
        """Add the aims of a request, and the reasons for what cannot follow it."""
        verdicts = (
            self._units_for(request) if request.works_on_units else self._layers_for(request)
        )
        for number, (target, reason) in enumerate(verdicts):
            stage = 3 * number // len(verdicts)
            if reason is not None:
                self.skipped[target.name] = reason
            elif request.sparsity[stage] > 0:
                self.aims.append(Aim(target, request.sparsity[stage]))

    def _layers_for(self, request: Request) -> list[Verdict]:
        self.skipped.update(self._unusable)
        linear = request.kind == "linear"
        granularity = (LINEAR_GRANULARITIES if linear else CONVOLUTION_GRANULARITIES)[
            request.granularity
        ]
        targets = [LayerTarget(x, granularity) for x in self._layers if x.kind == request.kind]
        return [(t, self._why_not_layer(t, request.granularity)) for t in targets]

    def _why_not_layer(self, target: LayerTarget, granularity: str) -> str | None:
        layer = target.layer
        pattern = matching_pattern(layer.name, self._exclude)
        if pattern is not None:
            return f"kept out by {pattern!r}"
        if scores_units_only(self._criterion):
            return (
                f"{self._criterion.__name__} scores whole units only "
                f"(granularities {' and '.join(map(repr, UNIT_GRANULARITIES.values()))})"
            )
        if "saliency" in needs(self._criterion) and not layer.weight.requires_grad:
            return f"{self._criterion.__name__} needs gradients, and its weight is frozen"
        inputs = layer.common(layer.weight.detach()).shape[1]
        if granularity == "two_of_four" and inputs % 4:
            return f"two_of_four needs a multiple of 4 inputs per filter; it has {inputs}"
        if not target.is_whole_layer and target.group_count == 1:
            return f"it is a single {granularity}, and one is always left"
        return None

    def _units_for(self, request: Request) -> list[Verdict]:
        if isinstance(self._units, Units):
            kinds = {layer.name: layer.kind for layer in self._layers}
            fixed = self._units.fixed.items()
            self.skipped.update((n, why) for n, why in fixed if kinds.get(n) == request.kind)
        verdicts: list[Verdict] = []
        for group in self._units:
            if group.kind == request.kind:
                target = UnitTarget(group, self._scoring_members(group), self.tensors)
                verdicts.append((target, self._why_not_units(target)))
        return verdicts

    def _scoring_members(self, group: UnitGroup) -> tuple[Member, ...]:
        wanted = needs(self._criterion)
        if scores_units_only(self._criterion):
            return norm_weights(group)
        members = [member for member in group.members if member.role == "weight"]
        if "saliency" in wanted:
            members = [m for m in members if self.tensors[m.tensor].requires_grad]
        if "input_norm" in wanted:
            members = [m for m in members if m.tensor in self.layers]
        return tuple(members)

    def _why_not_units(self, target: UnitTarget) -> str | None:
        names = [m.tensor.rpartition(".")[0] for m in target.group.members if m.role == "weight"]
        for name in names:
            pattern = matching_pattern(name, self._exclude)
            if pattern is not None:
                return f"kept out by {pattern!r}, which {name} matches"
        if target.group.reasons:
            return "cannot be removed: " + "; ".join(target.group.reasons)
        if not target.scored_by:
            return f"it has nothing that {self._criterion.__name__} can score"
        return None

    def nothing_left(self, model: nn.Module, requests: Sequence[Request]) -> ConfigurationError:
        """Describe that no request has any target, and what would have one."""
        asked = [f"{r.granularity} of {r.kind} layers" for r in requests if max(r.sparsity) > 0]
        groups = {kind: sum(g.kind == kind for g in self._units) for kind in UNIT_GRANULARITIES}
        layers = {kind: sum(x.kind == kind for x in self._layers) for kind in UNIT_GRANULARITIES}
        has = "; ".join(
            f"{layers[kind]} {kind} layers and {groups[kind]} groups of {kind} units"
            for kind in UNIT_GRANULARITIES
        )
        reasons = [f"  {name}: {reason}" for name, reason in self.skipped.items()]
        return ConfigurationError(
            "\n".join(
                [
                    f"nothing to sparsify in {type(model).__name__} by "
                    f"{self._criterion.__name__}: asked for {' and '.join(asked)}; it has {has}",
                    *reasons,
                    "granularity 'filter' and linear_granularity 'row' need units "
                    "(autocompress.graph.find_units); sparsity is of convolutions, "
                    "linear_sparsity of linear layers",
                ]
            )
        )
