"""What is to be zeroed: settings, resolved into one sparsity for each layer or unit group."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.graph import Member, UnitGroup, Units
from autocompress.graph.tracing import named_tensors
from autocompress.registry import did_you_mean
from autocompress.techniques.criteria import Criterion, needs, scores_units_only
from autocompress.techniques.granularity import (
    GRANULARITIES,
    Granularity,
    inputs_multiple_of,
    zeroes_units,
)
from autocompress.techniques.groups import CoupledGroups, Groups, WeightGroups, norm_weights
from autocompress.techniques.layers import Kind, Layer, find_layers
from autocompress.techniques.validation import check_patterns, matching_pattern

Sparsities = float | tuple[float, float, float] | Mapping[str, float]
Scope = Literal["local", "global"]


def asks(sparsity: Sparsities) -> bool:
    """Return whether a sparsity asks for any zeros."""
    if isinstance(sparsity, Mapping):
        return any(sparsity.values())
    return any(sparsity) if isinstance(sparsity, tuple) else sparsity > 0


@dataclass(frozen=True)
class LayerSettings:
    """What is asked of the layers of one kind.

    Attributes:
        kind: of the layers.
        sparsity: of all, of the early, middle and late third, or of each by name; in [0, 1].
        granularity: its name.
    """

    kind: Kind
    sparsity: Sparsities
    granularity: str

    @property
    def function(self) -> Granularity:
        """The granularity itself."""
        return GRANULARITIES[self.kind][self.granularity]

    def sparsity_of(self, name: str, place: int, count: int) -> float:
        """Return the sparsity of a layer or group.

        Args:
            name: of the layer or group; those that an allocation does not name stay whole.
            place: its number among all of its kind, in the order of definition, from 0.
            count: how many there are.
        """
        if isinstance(self.sparsity, Mapping):
            return self.sparsity.get(name, 0.0)
        if isinstance(self.sparsity, tuple):
            return self.sparsity[3 * place // count]
        return self.sparsity


@dataclass(frozen=True)
class SparsityTarget:
    """A layer or unit group, and the sparsity that it should reach.

    Attributes:
        groups: what is ranked and zeroed.
        sparsity: fraction of its groups, in [0, 1].
        population: targets of the same population are ranked together; ``None``: by itself.
    """

    groups: Groups
    sparsity: float
    population: Hashable = None


@dataclass(frozen=True)
class SparsityTargets:
    """What a sparsification does in a model.

    Attributes:
        targets: what is zeroed.
        skipped: name of a layer or unit group that is left alone, to the reason.
        tensors: canonical name to tensor, of the model.
        layers: canonical name of a weight to its layer.
    """

    targets: tuple[SparsityTarget, ...]
    skipped: Mapping[str, str]
    tensors: Mapping[str, Tensor] = field(repr=False)
    layers: Mapping[str, Layer] = field(repr=False)

    @property
    def scored(self) -> list[str]:
        """Canonical names of the tensors that are scored."""
        return [name for target in self.targets for name in target.groups.scored_tensors]


def resolve(
    model: nn.Module,
    asked: Sequence[LayerSettings],
    units: Units | Sequence[UnitGroup],
    criterion: Criterion,
    *,
    scope: Scope,
    exclude: tuple[str, ...] = (),
) -> SparsityTargets:
    """Return the sparsity of each layer or unit group, and why the others are left alone.

    Args:
        model: what is to be sparsified; it is not changed.
        asked: what is asked of each kind of layers.
        units: the model's units; granularities that zero units need them.
        criterion: what will score them.
        scope: rank each by itself, or all of the same kind and sparsity together. An allocation
            by name is ranked each by itself.
        exclude: patterns of layers to keep out.

    Raises:
        ConfigurationError: nothing can follow, or a pattern or name matches nothing.
    """
    check_patterns(model, exclude)
    asked = [settings for settings in asked if asks(settings.sparsity)]
    finder = _Finder(model, units, criterion, exclude)
    targets: list[SparsityTarget] = []
    skipped: dict[str, str] = {}
    for settings in asked:
        found = finder.found(settings)
        skipped.update(finder.unfit(settings))
        _check_names(settings, [groups.name for groups, _ in found])
        for place, (groups, reason) in enumerate(found):
            sparsity = settings.sparsity_of(groups.name, place, len(found))
            if reason is not None:
                skipped[groups.name] = reason
            elif sparsity > 0:
                population = _population(groups, settings, sparsity, scope)
                targets.append(SparsityTarget(groups, sparsity, population))
    if asked and not targets:
        raise finder.nothing_left(asked, skipped)
    return SparsityTargets(tuple(targets), skipped, finder.tensors, finder.layers)


def _population(
    groups: Groups, settings: LayerSettings, sparsity: float, scope: Scope
) -> Hashable:
    together = scope == "global" and not isinstance(settings.sparsity, Mapping)
    return (settings.kind, sparsity) if together or groups.is_whole_layer else None


def _check_names(settings: LayerSettings, known: Sequence[str]) -> None:
    """Raise where an allocation names what is not there."""
    if isinstance(settings.sparsity, Mapping):
        problems = [
            f"sparsity: no {settings.kind} group is called {name!r}{did_you_mean(name, known)}; "
            f"there are: {', '.join(known) or 'none'}"
            for name in settings.sparsity
            if name not in known
        ]
        if problems:
            raise ConfigurationError(problems)


class _Finder:
    """Finds what can be zeroed in a model, each with the reason why it cannot follow, if any."""

    def __init__(
        self,
        model: nn.Module,
        units: Units | Sequence[UnitGroup],
        criterion: Criterion,
        exclude: tuple[str, ...],
    ) -> None:
        self.tensors: Mapping[str, Tensor] = named_tensors(model)
        found, self._unusable = find_layers(model)
        self.layers = {layer.parameter: layer for layer in found}
        self._model, self._units = model, units
        self._criterion, self._needs, self._exclude = criterion, needs(criterion), exclude

    def found(self, settings: LayerSettings) -> list[tuple[Groups, str | None]]:
        """Return what is of the kind and granularity, and why it is left alone, if it is."""
        if zeroes_units(settings.function, settings.kind):
            groups = [group for group in self._units if group.kind == settings.kind]
            coupled = [CoupledGroups(g, self._scoring_members(g), self.tensors) for g in groups]
            return [(target, self._why_not_units(target)) for target in coupled]
        layers = [layer for layer in self.layers.values() if layer.kind == settings.kind]
        weights = [WeightGroups(layer, settings.function) for layer in layers]
        return [(target, self._why_not_layer(target, settings.granularity)) for target in weights]

    def unfit(self, settings: LayerSettings) -> Mapping[str, str]:
        """Return layers that are no candidates at all, with the reason."""
        if not zeroes_units(settings.function, settings.kind):
            return self._unusable
        if not isinstance(self._units, Units):
            return {}
        kinds = {layer.name: layer.kind for layer in self.layers.values()}
        fixed = self._units.fixed.items()
        return {name: why for name, why in fixed if kinds.get(name) == settings.kind}

    def _why_not_layer(self, target: WeightGroups, granularity: str) -> str | None:
        layer, criterion = target.layer, self._criterion.__name__
        pattern = matching_pattern(layer.name, self._exclude)
        if pattern is not None:
            return f"kept out by {pattern!r}"
        if scores_units_only(self._criterion):
            return f"{criterion} scores whole units only (granularities {_unit_granularities()})"
        if "saliency" in self._needs and not layer.weight.requires_grad:
            return f"{criterion} needs gradients, and its weight is frozen"
        inputs = layer.common(layer.weight.detach()).shape[1]
        multiple = inputs_multiple_of(target.granularity)
        if inputs % multiple:
            return (
                f"{granularity} needs a multiple of {multiple} inputs per filter; it has {inputs}"
            )
        if not target.is_whole_layer and target.group_count == 1:
            return f"it is a single {granularity}, and one is always left"
        return None

    def _scoring_members(self, group: UnitGroup) -> tuple[Member, ...]:
        if scores_units_only(self._criterion):
            return norm_weights(group)
        members = [member for member in group.members if member.role == "weight"]
        if "saliency" in self._needs:
            members = [m for m in members if self.tensors[m.tensor].requires_grad]
        if "input_norm" in self._needs:
            members = [m for m in members if m.tensor in self.layers]
        return tuple(members)

    def _why_not_units(self, target: CoupledGroups) -> str | None:
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

    def nothing_left(
        self, asked: Sequence[LayerSettings], skipped: Mapping[str, str]
    ) -> ConfigurationError:
        """Describe that nothing can follow, and what could."""
        wanted = " and ".join(f"{s.granularity} of {s.kind} layers" for s in asked)
        groups = {kind: sum(g.kind == kind for g in self._units) for kind in GRANULARITIES}
        layers = {
            kind: sum(x.kind == kind for x in self.layers.values()) for kind in GRANULARITIES
        }
        has = "; ".join(
            f"{layers[kind]} {kind} layers and {groups[kind]} groups of {kind} units"
            for kind in GRANULARITIES
        )
        reasons = [f"  {name}: {reason}" for name, reason in skipped.items()]
        return ConfigurationError(
            "\n".join(
                [
                    f"nothing to sparsify in {type(self._model).__name__} by "
                    f"{self._criterion.__name__}: asked for {wanted}; it has {has}",
                    *reasons,
                    "granularity 'filter' and linear_granularity 'row' need units "
                    "(autocompress.graph.find_units); sparsity is of convolutions, "
                    "linear_sparsity of linear layers",
                ]
            )
        )


def _unit_granularities() -> str:
    return " and ".join(
        repr(name)
        for kind, registry in GRANULARITIES.items()
        for name, function in registry.items()
        if zeroes_units(function, kind)
    )
