"""A metric is a value: its name, unit, direction and format, and how it is measured.

Everything that draws, compares, limits or picks models works from these descriptions. No other
module knows the name of a metric.
"""

import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

from autocompress.documents import typed
from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean
from autocompress.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

Direction = Literal["minimize", "maximize"]
Format = Literal["fraction", "count", "bytes", "number"]
Comparison = Literal["ratio", "difference"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value, with its 95 % interval where one is known.

    Attributes:
        value: in the metric's unit.
        low: lower end of the interval.
        high: upper end.
        n: how many images or calls it rests on.
        flag: why it should be read with care; ``None`` where there is no reason.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = setting(None, help="images or calls that it rests on", low=0)
    flag: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; what is not known is left out."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in known.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned; raises ``RunError`` for anything else."""
        return typed(cls, data, "not an estimate")


class Deployed(Protocol):
    """A model that is ready to run on the target: what metrics need of a target's session."""

    def run(self, inputs: "Tensor") -> Any:
        """Return the outputs for a batch of any size."""

    def time(self, calls: int) -> Any:
        """Make that many calls on the example; return their durations, as the session's."""


@dataclass(frozen=True)
class Candidate:
    """A compressed model, as a metric receives it.

    Attributes:
        model: the network in float32 and evaluation mode, on the device of ``example``; it must
            not be changed.
        session: the deployed model on the target, ready to run.
        example: inputs of one call, ``[batch_size, ...]``.
        size_bytes: of the deployed model.
    """

    model: "nn.Module"
    session: Deployed
    example: "Tensor"
    size_bytes: int


Measure = Callable[[Candidate], float | Estimate]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a model is measured by.

    Attributes:
        name: identifier in study files, tables and documents, with its unit: ``"energy_mj"``.
        title: in words, without the unit: ``"energy"``; by default the name in words.
        unit: ``"ms"``; empty where there is none.
        direction: whether less or more is better.
        format: how numbers are written: ``"fraction"`` as percent, ``"count"`` and ``"bytes"``
            with k, M and G, ``"number"`` plainly.
        comparison: how a model is set beside the baseline: as a ratio, or as a difference (which
            suits fractions).
        logarithmic: whether values spread over magnitudes.
        pick: word for the model that is best in it, as ``"fast"``; by default the name.
        ratio_name: name of a limit on the ratio to the baseline; by default ``NAME_ratio``.
        drop_name: name of a limit on what may be lost against the baseline; by default
            ``NAME_drop``.
        measure: computes it for a candidate; ``None`` for metrics that the search knows by itself
            (the task's scores, latency and sizes).

    Raises:
        ConfigurationError: a field is outside its range.
    """

    name: str
    direction: Direction
    title: str = ""
    unit: str = ""
    format: Format = "number"
    comparison: Comparison = "ratio"
    logarithmic: bool = False
    pick: str = ""
    ratio_name: str = ""
    drop_name: str = ""
    measure: Measure | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        allowed = {
            "direction": get_args(Direction),
            "format": get_args(Format),
            "comparison": get_args(Comparison),
        }
        problems = [
            f"metric {self.name!r}: {key}: expected one of {', '.join(names)}, not "
            f"{getattr(self, key)!r}"
            for key, names in allowed.items()
            if getattr(self, key) not in names
        ]
        if not self.name.isidentifier() or keyword.iskeyword(self.name):
            problems.append(f"metric {self.name!r}: expected a Python identifier as its name")
        if problems:
            raise ConfigurationError(problems)
        defaults = {
            "title": self.name.replace("_", " "),
            "pick": self.name,
            "ratio_name": f"{self.name}_ratio",
            "drop_name": f"{self.name}_drop",
        }
        for key, default in defaults.items():
            if not getattr(self, key):
                object.__setattr__(self, key, default)

    @property
    def sign(self) -> int:
        """1 where less is better, -1 where more is: ``sign * value`` is minimized."""
        return 1 if self.direction == "minimize" else -1

    def beside(self, value: float, baseline: float) -> float:
        """Return a value relative to the baseline's: their ratio, or their difference.

        The ratio to a baseline of 0 is infinite, or 1 where both are 0.
        """
        if self.comparison == "difference":
            return value - baseline
        if baseline == 0:
            return 1.0 if value == 0 else float("inf")
        return value / baseline

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without ``measure``."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.compare}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned; the result describes, and cannot measure.

        Raises:
            RunError: it is no description of a metric.
        """
        return typed(cls, data, "not a metric")


def metric(
    function: Measure | None = None,
    /,
    *,
    direction: Direction | None = None,
    unit: str = "",
    name: str = "",
    **description: Any,
) -> Callable[[Measure], Metric]:
    """Make a metric of the function below.

    Args:
        function: none; it stands below the decorator.
        direction: whether less or more is better; it must be given.
        unit: of the values.
        name: by default the function's.
        description: further fields of :class:`Metric`.

    Raises:
        ConfigurationError: there is no direction, or no such field.

    Example:
        >>> @metric(direction="minimize", unit="layers")
        ... def layers(candidate):
        ...     return float(len(list(candidate.model.modules())))
        >>> layers.name, layers.sign
        ('layers', 1)
    """
    if function is not None or direction is None:
        raise ConfigurationError(
            "metric: say which direction is better, as in @metric(direction='minimize', unit='mJ')"
        )
    known = [entry.name for entry in fields(Metric) if entry.name != "measure"]
    for key in description:
        if key not in known:
            raise ConfigurationError(
                f"metric: unknown field {key!r}{did_you_mean(key, known)}; allowed: "
                f"{', '.join(known)}"
            )

    def make(measure: Measure) -> Metric:
        own = name or str(getattr(measure, "__name__", ""))
        return Metric(name=own, direction=direction, unit=unit, measure=measure, **description)

    return make


LATENCY = Metric(
    name="latency_ms",
    title="latency",
    unit="ms",
    direction="minimize",
    pick="fast",
    ratio_name="latency_ratio",
)
PARAMETERS = Metric(
    name="parameters",
    direction="minimize",
    format="count",
    logarithmic=True,
    pick="small",
    ratio_name="parameter_ratio",
)
MACS = Metric(
    name="macs", title="multiply-adds", direction="minimize", format="count", logarithmic=True
)
SIZE = Metric(
    name="size_bytes",
    title="size",
    unit="B",
    direction="minimize",
    format="bytes",
    logarithmic=True,
    ratio_name="size_ratio",
)
NONZERO = Metric(
    name="nonzero",
    title="nonzero parameters",
    direction="minimize",
    format="count",
    logarithmic=True,
)
KNOWN = {metric.name: metric for metric in (LATENCY, PARAMETERS, MACS, SIZE, NONZERO)}
"""What every run knows of a model besides the task's scores."""
