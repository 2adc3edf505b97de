"""The search space: which knobs a study turns, within which bounds, and the recipe they make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import optuna

from autocompress.recipe import Recipe
from autocompress.techniques.criteria import CRITERIA
from autocompress.techniques.distillation import DISTILLATION_LOSSES, Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.schedules import SCHEDULES
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

Value = float | int | bool | str
Params = Mapping[str, Any]
Kind = Literal["float", "int", "categorical", "boolean"]
STAGES = ("early", "middle", "late")
_RANKS = ("rank", "convolution_rank", "energy", "convolution_energy")


def _always(_: Params) -> bool:
    return True


def _sparsifies_convolutions(params: Params) -> bool:
    return any(params[name] for name in ("sparsity", *(f"sparsity_{s}" for s in STAGES)))


def _sparsifies(params: Params) -> bool:
    return _sparsifies_convolutions(params) or params["linear_sparsity"] > 0


def _distils(params: Params) -> bool:
    return bool(params["distillation"] != "none")


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One thing that a study may turn.

    Attributes:
        name: its key in the study file's ``[search]`` table.
        kind: what its values are.
        low: smallest allowed number (``None`` for names and booleans).
        high: largest allowed number.
        choices: allowed names, for a categorical knob.
        doc: what it does, in one line.
        default: its value where a study does not mention it; ``None`` where something else
            decides (the ``[training]`` table, or ``sparsity`` for its three stages).
        active: whether the knob has an effect, given the knobs before it in the table.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    doc: str
    default: Value | None
    active: Callable[[Params], bool] = _always


def _fraction(name: str, default: float | None, doc: str, **more: Any) -> Knob:
    bounds = {"low": 0.0, "high": 1.0, **more}
    return Knob(name=name, kind="float", default=default, doc=doc, **bounds)


def _names(name: str, default: str, doc: str, choices: Any, **more: Any) -> Knob:
    allowed = tuple(choices)
    return Knob(name=name, kind="categorical", default=default, doc=doc, choices=allowed, **more)


_TABLE = (
    _fraction("sparsity", 0.0, "fraction of the convolutions' groups to zero", high=0.99),
    *(
        _fraction(
            f"sparsity_{stage}", None, f"instead of sparsity, in the {stage} third", high=0.99
        )
        for stage in STAGES
    ),
    _names(
        "granularity",
        "filter",
        "what stands or falls together in a convolution",
        CONVOLUTION_GRANULARITIES,
        active=_sparsifies_convolutions,
    ),
    _fraction("linear_sparsity", 0.0, "fraction of the linear layers' groups to zero", high=0.99),
    _names(
        "linear_granularity",
        "row",
        "what stands or falls together in a linear layer",
        LINEAR_GRANULARITIES,
        active=lambda params: params["linear_sparsity"] > 0,
    ),
    _names(
        "scope", "local", "rank in each layer, or in all", ("local", "global"), active=_sparsifies
    ),
    _names("criterion", "large_final", "what counts as unimportant", CRITERIA, active=_sparsifies),
    _names("schedule", "cosine", "how sparsity grows in training", SCHEDULES, active=_sparsifies),
    _fraction("schedule_end", 0.7, "share of the training by which sparsity is reached", low=0.05),
    _fraction(
        "rewind",
        1.0,
        "training progress, before schedule_end, whose weights then return; 1 = off",
        active=_sparsifies,
    ),
    _names(
        "distillation",
        "none",
        "the loss that brings in the teacher",
        ("none", *DISTILLATION_LOSSES),
    ),
    _fraction("distillation_weight", 0.5, "share of the distillation loss", active=_distils),
    Knob(
        name="temperature",
        kind="float",
        low=1.0,
        high=100.0,
        default=4.0,
        doc="softens the outputs of teacher and student",
        active=lambda params: params["distillation"] == "soft_target",
    ),
    _fraction("energy", 1.0, "energy kept in linear layers; 1 = rank decides", low=0.01),
    _fraction("convolution_energy", 1.0, "the same in convolutions", low=0.01),
    _fraction(
        "rank",
        1.0,
        "share of singular values kept in linear layers; 1 = off",
        low=0.01,
        active=lambda params: params["energy"] == 1,
    ),
    _fraction(
        "convolution_rank",
        1.0,
        "the same in convolutions; 1 = off",
        low=0.01,
        active=lambda params: params["convolution_energy"] == 1,
    ),
    _names(
        "convolution_kind",
        "channel",
        "how a convolution is factorized",
        ("channel", "spatial"),
        active=lambda params: min(params["convolution_rank"], params["convolution_energy"]) < 1,
    ),
    Knob(name="prune", kind="boolean", default=True, doc="whether zeroed units are removed"),
    Knob(
        name="round_to",
        kind="int",
        low=1,
        high=256,
        default=1,
        doc="widths stay multiples of this",
        active=lambda params: params["prune"] and _sparsifies(params),
    ),
    Knob(name="fold", kind="boolean", default=True, doc="whether batch norms are folded"),
    Knob(
        name="learning_rate",
        kind="float",
        low=1e-7,
        high=10.0,
        default=None,
        doc="peak learning rate",
    ),
    Knob(name="epochs", kind="int", low=0, high=10_000, default=None, doc="sparsifying epochs"),
    Knob(
        name="recovery_epochs",
        kind="int",
        low=0,
        high=10_000,
        default=None,
        doc="epochs after surgery",
    ),
)
KNOBS: Mapping[str, Knob] = {knob.name: knob for knob in _TABLE}


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

    def sample(self, trial: optuna.Trial) -> dict[str, Any]:
        """Ask Optuna for a value of every knob that has an effect.

        Returns:
            all knobs, sampled or not; those without effect have their default.
        """
        params: dict[str, Any] = {}
        for knob in _TABLE:
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
            value = _nearest(dimension, wish[name])
            if value is None:
                return None
            params[name] = int(value) if KNOBS[name].kind == "int" else value
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
            sparsification=self._sparsification(params) if _sparsifies(params) else None,
            pruning=Pruning(round_to=params["round_to"]) if params["prune"] else None,
            factorization=self._factorization(params) if low_rank else None,
            fold=params["fold"],
            training=replace(
                self.training,
                epochs=params["epochs"],
                recovery_epochs=params["recovery_epochs"],
                learning_rate=params["learning_rate"],
            ),
        )

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
