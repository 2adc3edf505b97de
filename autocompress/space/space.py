"""The search space: which settings of a recipe a study varies, and the recipe that they make."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autocompress.errors import ConfigurationError
from autocompress.reading import Misfit, in_lines
from autocompress.recipe import Recipe, changed
from autocompress.settings import describe
from autocompress.short_repr import short_repr
from autocompress.space.allocation import UNIFORM, allocate
from autocompress.space.dimensions import (
    Choices,
    Constant,
    Dimension,
    Range,
    dimension_of,
    first_of,
    flat,
    nearest,
    problems_of,
)
from autocompress.space.effects import Effects
from autocompress.space.parameters import (
    ALIASES,
    NAMES,
    Parameter,
    Params,
    parameter,
    path_of,
    searchable,
    stage_of,
)
from autocompress.training.fitting import Training

if TYPE_CHECKING:
    import optuna

__all__ = ["Choices", "Constant", "Dimension", "Range", "Space"]


@short_repr
@dataclass(frozen=True)
class Space:
    """All recipes that a study may try.

    Attributes:
        dimensions: values by parameter, a dotted path into the recipe or its short name: a
            constant, a list, a table ``{low, high, step, log}`` or a tuple ``(low, high)``.
        training: what parameters of ``training`` replace.
        exclude: patterns (``fnmatch``) of layers that no technique touches.
        conditional: leave out parameters without effect (define by run); a flat space samples
            them all.
        allocation: how the sparsity is spread over the network: a name of ``ALLOCATIONS``, or
            ``"package.module:function"``.

    Raises:
        ConfigurationError: names everything that is wrong, each with its parameter.

    Example:
        >>> space = Space({"sparsification.sparsity": (0.0, 0.9), "sparsification.end": 0.5})
        >>> space.recipe({"sparsification.sparsity": 0.3}).sparsification.sparsity
        0.3
    """

    dimensions: Mapping[str, Dimension]
    training: Training = field(default_factory=Training)
    exclude: tuple[str, ...] = ()
    conditional: bool = True
    allocation: str = UNIFORM

    def __post_init__(self) -> None:
        """Check every parameter."""
        given = flat(self.dimensions)
        problems = problems_of(given)
        if problems:
            raise ConfigurationError(in_lines(problems, ""))
        dimensions = {name: dimension_of(value) for name, value in given.items()}
        object.__setattr__(self, "dimensions", dimensions)

    def at_fidelity(self, fraction: float, *, conditional: bool) -> "Space":
        """Return the same space with shorter training runs, at least an epoch where there was one.

        Epochs that are searched stay as they are.

        Args:
            fraction: of the epochs, in (0, 1].
            conditional: whether parameters without effect are left out.
        """

        def fewer(epochs: int) -> int:
            return max(min(1, epochs), round(epochs * fraction))

        training = self.training
        shorter = replace(
            training,
            epochs=fewer(training.epochs),
            recovery_epochs=fewer(training.recovery_epochs),
        )
        return replace(self, training=shorter, conditional=conditional)

    def sample(self, trial: "optuna.trial.BaseTrial") -> dict[str, Any]:
        """Ask Optuna for a value of every parameter that has an effect.

        Returns:
            all parameters, by the names that the study gives them, sampled or not; those without
            effect have their default.
        """
        found: dict[str, Any] = {}

        def value(path: str) -> Any:
            if path not in found:
                found[path] = self._sampled(path, trial, effects)
            return found[path]

        effects = Effects(value, self._paths)
        with warnings.catch_warnings():  # Optuna tells of what is meant so: steps that end before
            warnings.simplefilter("ignore", UserWarning)  # high, enqueued values without effect
            return {self.name(path): value(path) for path in self._paths}

    def recipe(self, params: Params, analysis: Any = None) -> Recipe:
        """Return the recipe that values of the parameters describe.

        Args:
            params: by path or short name; those that are left out have their default.
            analysis: of the baseline, for an allocation over its groups.

        Raises:
            ConfigurationError: two settings contradict each other, such as a ``rewind`` after
                the end of the schedule.
        """
        given = {path_of(name): value for name, value in params.items()}

        def value(path: str) -> Any:
            return given.get(path, self._default(path))

        effects = Effects(value, self._paths)
        problems: list[Misfit] = []
        stages: dict[str, Any] = {}
        for stage, entry in Recipe.paths().items():
            if entry.nested is not None and effects.stage_is_on(stage):
                stages[stage] = self._settings(stage, entry.nested, effects, problems)
            elif stage_of(stage)[1] == "" and entry.nested is None and stage in searchable():
                stages[stage] = value(stage)
        if problems:
            raise ConfigurationError(in_lines(problems, ""))
        recipe = Recipe().with_values(stages)
        return recipe if self.allocation == UNIFORM else self._allocated(recipe, params, analysis)

    def nearest(self, wish: Params) -> dict[str, Any] | None:
        """Move a wished recipe into the space, as values to enqueue.

        Numbers go to the nearest allowed one.

        Args:
            wish: values by path or short name, of all parameters that vary.

        Returns:
            values by the names that the study gives them; ``None`` where a parameter is missing in
            the wish, or the space does not have a name that it asks for.
        """
        wished = {path_of(name): value for name, value in wish.items()}
        params: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if isinstance(dimension, Constant):
                continue
            found = self._parameters[path_of(name)]
            if wished.get(found.path) is None:
                return None
            params[name] = nearest(found, dimension, wished[found.path])
            if params[name] is None:
                return None
        return params

    def derived(self, params: Params, recipe: Recipe, fraction: float) -> dict[str, Any]:
        """Return the parameters of a recipe that shares another's training run.

        Args:
            params: the other's.
            recipe: this one.
            fraction: of the other's sparsity that this one has, in [0, 1].
        """
        sparsities = ("sparsification.sparsity", "sparsification.linear_sparsity")
        scaled = {
            name: value * fraction
            for name, value in params.items()
            if path_of(name).startswith(sparsities) and value is not None
        }
        recovery = {self.name("training.recovery_epochs"): recipe.training.recovery_epochs}
        return {**params, **scaled, **recovery}

    def defaults(self) -> dict[str, Any]:
        """Return a value of every parameter, by path: its default where the space has it."""
        found = {path: self._default(path) for path in self._paths}
        for path, dimension in self._named.items():
            reached = nearest(self._parameters[path], dimension, found[path])
            if path not in NAMES and reached is None:
                found[path] = first_of(dimension)
        return found

    def name(self, path: str) -> str:
        """Return what the study calls a parameter: its path, or its short name."""
        if path in self.dimensions:
            return path
        return NAMES.get(path, path)

    @cached_property
    def _named(self) -> dict[str, Dimension]:
        """What the study names, by path."""
        return {path_of(name): dimension for name, dimension in self.dimensions.items()}

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        """All parameters: those with a short name first, in the order in which they are asked."""
        return tuple(dict.fromkeys([*ALIASES.values(), *self._named]))

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        """What can be searched, and the coefficients that the study names, by path."""
        entries = searchable()
        found = {path: parameter(path, entries) for path in [*entries, *self._named]}
        return {path: known for path, known in found.items() if known is not None}

    def _default(self, path: str) -> Any:
        stage, name = stage_of(path)
        if stage == "training":
            return getattr(self.training, name)
        return self._parameters[path].default

    def _sampled(self, path: str, trial: "optuna.trial.BaseTrial", effects: Effects) -> Any:
        dimension = self._named.get(path)
        if dimension is None:
            return self._default(path)
        if isinstance(dimension, Constant):
            return dimension.value
        known = self._parameters[path]
        if self.conditional and not effects.has_effect(path):
            return self._default(path)
        return _suggest(trial, self.name(path), known, dimension)

    def _settings(self, stage: str, cls: type, effects: Effects, problems: list[Misfit]) -> Any:
        """Return the settings of a stage; what is wrong with them joins the problems."""
        values = effects.settings(stage)
        if "exclude" in describe(cls):
            values["exclude"] = self.exclude
        start = self.training if stage == "training" else None
        settings, found = changed(cls, start, values)
        problems += [((*stage.split("."), *path), text) for path, text in found]
        return settings

    def _allocated(self, recipe: Recipe, params: Params, analysis: Any) -> Recipe:
        if recipe.sparsification is None:
            return recipe
        if analysis is None:
            raise ConfigurationError(
                f"search.allocation {self.allocation!r} needs the analysis of a model"
            )
        complete = {self.name(path): self._default(path) for path in self._paths} | dict(params)
        shares = allocate(self.allocation, complete, analysis)
        spread = recipe.with_values({f"sparsification.{n}": v for n, v in shares.items()})
        settings = spread.sparsification
        assert settings is not None
        if not any((settings.sparsity, settings.linear_sparsity)):
            return spread.with_values({"sparsification": None})
        return spread


def _suggest(
    trial: "optuna.trial.BaseTrial", name: str, known: Parameter, dimension: Choices | Range
) -> Any:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(name, dimension.values)
    low, high, step = dimension.low, dimension.high, dimension.step
    if known.kind == "int":
        whole = 1 if step is None else int(step)
        return trial.suggest_int(name, int(low), int(high), step=whole, log=dimension.log)
    return trial.suggest_float(name, low, high, step=step, log=dimension.log)
