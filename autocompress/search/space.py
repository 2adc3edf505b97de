"""The search space: which knobs a study turns, within which bounds, and the recipe they make."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna

from autocompress.recipe import Recipe
from autocompress.search.knobs import KNOBS, STAGES, TABLE, Knob, Params, Value, sparsifies
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

_RANKS = ("rank", "convolution_rank", "energy", "convolution_energy")


@dataclass(frozen=True)
class Constant:
    """A knob that stays where it is."""

    value: Value


@dataclass(frozen=True)
class Choices:
    """A knob with a list of values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A knob between two numbers, both included; ``step`` and ``log`` exclude each other."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


Dimension = Constant | Choices | Range


@dataclass(frozen=True)
class Space:
    """All recipes that a study may try.

    Attributes:
        dimensions: for each knob that the study names, its values.
        training: what the knobs ``epochs``, ``recovery_epochs`` and ``learning_rate`` replace.
        exclude: patterns (``fnmatch``) of layers that no technique touches.
        conditional: leave out knobs without effect (define by run); a flat space samples them all.
    """

    dimensions: Mapping[str, Dimension]
    training: Training
    exclude: tuple[str, ...] = ()
    conditional: bool = True

    def at_fidelity(self, fraction: float, *, conditional: bool) -> "Space":
        """Return the same space with shorter training runs, at least an epoch where there was one.

        Epochs that are knobs stay as they are.

        Args:
            fraction: of the epochs, in (0, 1].
            conditional: whether knobs without effect are left out.
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

    def sample(self, trial: optuna.Trial) -> dict[str, Any]:
        """Ask Optuna for a value of every knob that has an effect.

        Returns:
            all knobs, sampled or not; those without effect have their default.
        """
        params: dict[str, Any] = {}
        for knob in TABLE:
            dimension = self.dimensions.get(knob.name, Constant(self._default(knob)))
            if isinstance(dimension, Constant):
                params[knob.name] = dimension.value
            elif self.conditional and not knob.active(params):
                params[knob.name] = knob.default
            else:
                params[knob.name] = _suggest(trial, knob, dimension)
        return params

    def nearest(self, wish: Params) -> dict[str, Any] | None:
        """Move a wished recipe into the space, as values to enqueue.

        Numbers go to the nearest allowed one. Returns ``None`` where a name that the wish asks
        for is not in the space.
        """
        params: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if isinstance(dimension, Constant):
                continue
            if wish.get(name) is None:
                return None
            params[name] = _allowed(KNOBS[name], dimension, wish[name])
            if params[name] is None:
                return None
        return params

    def recipe(self, params: Params) -> Recipe:
        """Return the recipe that a full set of knobs describes.

        Raises:
            ConfigurationError: two knobs contradict each other, such as a ``rewind`` after
                ``schedule_end``.
        """
        distils = params["distillation"] != "none"
        low_rank = any(params[name] < 1 for name in _RANKS)
        return Recipe(
            distillation=self._distillation(params) if distils else None,
            sparsification=self._sparsification(params) if sparsifies(params) else None,
            pruning=Pruning(round_to=params["round_to"]) if params["prune"] else None,
            factorization=self._factorization(params) if low_rank else None,
            fold=params["fold"],
            training=replace(
                self.training,
                epochs=params["epochs"],
                recovery_epochs=params["recovery_epochs"],
                learning_rate=params["learning_rate"],
            ),
            precision=params["precision"],
        )

    def harvested(self, params: Params, recipe: Recipe, fraction: float) -> dict[str, Any]:
        """Return the knobs of a recipe that shares another's training run.

        Args:
            params: the other's knobs.
            recipe: this one.
            fraction: of the other's sparsity that this one has, in [0, 1].
        """
        names = ("sparsity", *(f"sparsity_{stage}" for stage in STAGES), "linear_sparsity")
        scaled = {n: params[n] * fraction for n in names if params[n] is not None}
        return {**params, **scaled, "recovery_epochs": recipe.training.recovery_epochs}

    def nearest_of(self, params: Params, names: Iterable[str]) -> dict[str, Any]:
        """Move some knobs to the nearest values that the space allows."""
        return {name: _allowed(KNOBS[name], self.dimensions[name], params[name]) for name in names}

    def _default(self, knob: Knob) -> Any:
        return (
            knob.default if knob.default is not None else getattr(self.training, knob.name, None)
        )

    def _distillation(self, params: Params) -> Distillation:
        return Distillation(
            loss=params["distillation"],
            weight=params["distillation_weight"],
            temperature=params["temperature"],
        )

    def _sparsification(self, params: Params) -> Sparsification:
        stages = tuple(params[f"sparsity_{stage}"] for stage in STAGES)
        sparsity: Any = params["sparsity"]
        if any(stage is not None for stage in stages):
            sparsity = tuple(sparsity if stage is None else stage for stage in stages)
        return Sparsification(
            sparsity=sparsity,
            granularity=params["granularity"],
            linear_sparsity=params["linear_sparsity"],
            linear_granularity=params["linear_granularity"],
            scope=params["scope"],
            criterion=params["criterion"],
            schedule=params["schedule"],
            end=params["schedule_end"],
            exclude=self.exclude,
            rewind=None if params["rewind"] == 1 else params["rewind"],
        )

    def _factorization(self, params: Params) -> Factorization:
        kept: Any = {name: None if params[name] == 1 else params[name] for name in _RANKS}
        for rank, energy in (("rank", "energy"), ("convolution_rank", "convolution_energy")):
            if kept[energy] is not None:
                kept[rank] = None
        kind = params["convolution_kind"]
        return Factorization(**kept, convolution_kind=kind, exclude=self.exclude)


def _suggest(trial: optuna.Trial, knob: Knob, dimension: Choices | Range) -> Any:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(knob.name, dimension.values)
    low, high, step = dimension.low, dimension.high, dimension.step
    if knob.kind == "int":
        whole = 1 if step is None else int(step)
        return trial.suggest_int(knob.name, int(low), int(high), step=whole, log=dimension.log)
    return trial.suggest_float(knob.name, low, high, step=step, log=dimension.log)


def _allowed(knob: Knob, dimension: Dimension, wished: Any) -> Any:
    """Return the nearest allowed value; ``None`` for a name that is not allowed."""
    if isinstance(dimension, Constant):
        return dimension.value
    value = _nearest(dimension, wished)
    return int(value) if knob.kind == "int" and value is not None else value


def _nearest(dimension: Choices | Range, wished: Any) -> Any:
    if isinstance(dimension, Range):
        value = min(max(wished, dimension.low), dimension.high)
        if dimension.step is not None:
            steps = round((value - dimension.low) / dimension.step)
            value = min(dimension.low + steps * dimension.step, dimension.high)
        return value
    if wished in dimension.values:
        return wished
    numbers = [v for v in dimension.values if isinstance(v, int | float) and v is not True]
    if isinstance(wished, str | bool) or len(numbers) < len(dimension.values):
        return None
    return min(numbers, key=lambda number: abs(number - wished))
