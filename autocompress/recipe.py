"""A recipe: everything that one trial decides, as frozen settings that go to JSON and back."""

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from autocompress.conversion.precision import Precision, check_precision
from autocompress.errors import ConfigurationError
from autocompress.registry import Registry, did_you_mean
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

T = TypeVar("T")
EXTRA_SETTINGS: Registry[type] = Registry("stage", {})
"""Settings classes of stages that a user added, by the stage's name; ``add_stage`` fills it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to the baseline. ``None`` (or ``False``) leaves a stage out.

    Attributes:
        distillation: how the teacher's outputs join the loss, in every training run.
        sparsification: what is driven to zero, and when.
        pruning: how zeroed units are removed.
        factorization: which weights are replaced by products of thin ones, before the recovery.
        late_factorization: the same after the recovery: no training makes up for what it costs.
        fold: whether batch norms are folded into their neighbours at the end.
        training: epochs and learning rates.
        extra: settings of the stages that ``add_stage`` added, by the stage's name.
        precision: of the deployed model, which ``deploy`` makes; ``compress`` stays in float32.

    Raises:
        ConfigurationError: there is no such precision.
    """

    distillation: Distillation | None = None
    sparsification: Sparsification | None = None
    pruning: Pruning | None = None
    factorization: Factorization | None = None
    late_factorization: Factorization | None = None
    fold: bool = True
    training: Training = field(default_factory=Training)
    precision: Precision = "fp32"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_precision(self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, ready for JSON; ``from_dict`` reads them."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from what ``to_dict`` returned.

        Raises:
            ConfigurationError: names every unknown key, with the allowed ones.
        """
        return _build(cls, data, "recipe")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list | tuple) else value


def _build(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    allowed = [entry.name for entry in fields(cls)]  # type: ignore[arg-type]
    unknown = [key for key in data if key not in allowed]
    if unknown:
        raise ConfigurationError(
            f"{where}: unknown key {key!r}{did_you_mean(key, allowed)}; "
            f"allowed: {', '.join(allowed)}"
            for key in unknown
        )
    hints = get_type_hints(cls)
    values = {}
    for key, value in data.items():
        settings = _settings_class(hints[key])
        if settings is not None and isinstance(value, Mapping):
            values[key] = _build(settings, value, f"{where}.{key}")
        else:
            values[key] = _tuples(value)
    return cls(**values)


def _settings_class(hint: Any) -> Any:
    """Return the settings dataclass that a field's type names, alone or beside ``None``."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((option for option in options if is_dataclass(option)), None)
