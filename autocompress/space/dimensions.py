"""The values of a search parameter: a constant, a list, or a range; checked, and moved into."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from autocompress.reading import Misfit
from autocompress.recipe import EXTRA
from autocompress.registry import did_you_mean
from autocompress.settings import is_finite
from autocompress.space.parameters import (
    COEFFICIENTS,
    Parameter,
    Value,
    parameter,
    searchable,
    stage_of,
    unknown_parameter,
)

_RANGE_KEYS = ("low", "high", "step", "log")
_NUMBERS = {"float": "number", "int": "whole number"}
_FINEST = 1_000_000  # steps up to the largest number of a range: floats still tell them apart


@dataclass(frozen=True)
class Constant:
    """A parameter that stays where it is."""

    value: Value | None


@dataclass(frozen=True)
class Choices:
    """A parameter with a list of values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A parameter between two numbers, both included; ``step`` and ``log`` exclude each other.

    With a step, the values are ``low``, ``low + step`` and so on, as far as ``high`` allows.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def last(self) -> float:
        """The largest value: ``high``, or where the steps end in decimals, as Optuna reckons.

        From 0 to 0.3 there are three steps of 0.1, though as floats three are more than 0.3.
        """
        if self.step is None:
            return self.high
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return self.high if (high - low) % step == 0 else float(low + (high - low) // step * step)

    def nearest(self, wished: float) -> float:
        """Return the value that is nearest to a number."""
        last = self.last
        value = min(max(wished, self.low), last)
        if self.step is None:
            return value
        return min(self.low + round((value - self.low) / self.step) * self.step, last)


Dimension = Constant | Choices | Range


def dimension_of(value: Any) -> Dimension:
    """Return what a checked value of a parameter spans.

    Args:
        value: a constant, a list of values, a table ``{low, high, step, log}`` or, in Python, a
            tuple ``(low, high)``; a dimension stands for itself.
    """
    if isinstance(value, Constant | Choices | Range):
        return value
    if isinstance(value, list):
        return Choices(tuple(value))
    if isinstance(value, tuple):
        return Range(*value)
    return Range(**value) if isinstance(value, Mapping) else Constant(value)


def written(value: Any) -> Any:
    """Return what ``dimension_of`` takes as a study file has it: plain values, lists, tables."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Choices):
        return list(value.values)
    if isinstance(value, Range):
        known = {key: entry for key, entry in asdict(value).items() if entry is not None}
        return known if value.log else {key: known[key] for key in known if key != "log"}
    return dict(zip(_RANGE_KEYS, value, strict=False)) if isinstance(value, tuple) else value


def flat(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``[search]`` table with its inner tables as dotted names.

    TOML reads ``sparsification.start = 0.1`` as a table ``sparsification``.
    """
    return dict(_flat(search, "", [*searchable(), f"{COEFFICIENTS}."]))


def _flat(search: Mapping[str, Any], prefix: str, paths: list[str]) -> Iterator[tuple[str, Any]]:
    for key, value in search.items():
        name = prefix + key
        is_table = isinstance(value, Mapping) and not {"low", "high"} & set(value)
        is_added = name.split(".")[0] == EXTRA and not stage_of(name)[1]
        if is_table and (is_added or any(path.startswith(f"{name}.") for path in paths)):
            yield from _flat(value, f"{name}.", paths)
        else:
            yield name, value


def problems_of(search: Mapping[str, Any], *more: str) -> list[Misfit]:
    """Return everything that is wrong with a search space.

    Args:
        search: values by parameter; inner tables are flat.
        more: keys beside the parameters, for messages.
    """
    problems: list[Misfit] = []
    paths: dict[str, str] = {}
    for name, value in search.items():
        found = parameter(name)
        if found is None:
            problems.append(((name,), unknown_parameter(name, *more)))
            continue
        first = paths.setdefault(found.path, name)
        if first != name:
            problems.append(((name,), f"given twice: {first!r} is the same setting"))
        problems += [
            ((name, *path), f"{text} ({found.help})" if found.help else text)
            for path, text in _problems(found, value)
        ]
    return problems


def varies(value: Any) -> bool:
    """Return whether a checked value of a parameter leaves anything to search."""
    spanned = dimension_of(value)
    if isinstance(spanned, Choices):
        return len(spanned.values) > 1
    return isinstance(spanned, Range) and spanned.low < spanned.last


def nearest(found: Parameter, dimension: Dimension, wished: Any) -> Any:
    """Return the nearest allowed value; ``None`` for a name that is not allowed."""
    if isinstance(dimension, Constant):
        return dimension.value
    if wished is None:
        return None
    if isinstance(dimension, Range):
        value = dimension.nearest(wished)
        return int(value) if found.kind == "int" else float(value)
    return _nearest_of(dimension.values, wished)


def first_of(dimension: Dimension) -> Any:
    """Return the first of the values, or the lowest."""
    if isinstance(dimension, Choices):
        return dimension.values[0]
    return dimension.low if isinstance(dimension, Range) else dimension.value


def _nearest_of(values: tuple[Value, ...], wished: Any) -> Value | None:
    if wished in values:
        return values[values.index(wished)]
    numbers = [v for v in values if isinstance(v, int | float) and v is not True]
    if isinstance(wished, str | bool) or len(numbers) < len(values):
        return None
    return min(numbers, key=lambda number: abs(number - wished))


def _problems(found: Parameter, value: Any) -> Iterator[Misfit]:
    value = written(value)
    if isinstance(value, Mapping):
        yield from _range_problems(found, value)
    elif not isinstance(value, list):
        yield from _value_problems(found, value)
    elif not value:
        yield (), f"an empty list leaves nothing to choose; expected {found.expected()}"
    else:
        for entry in value:
            yield from _value_problems(found, entry)
        if any(entry in value[:index] for index, entry in enumerate(value)):
            yield (), f"a value is listed twice in {value!r}"


def _value_problems(found: Parameter, value: Any) -> Iterator[Misfit]:
    problem = found.misfit(value)
    if problem:
        yield (), problem


def _range_problems(found: Parameter, value: Mapping[str, Any]) -> Iterator[Misfit]:
    if found.kind not in _NUMBERS:
        yield (), f"cannot be a range; expected {found.expected()}"
        return
    for key in value:
        if key not in _RANGE_KEYS:
            hint = did_you_mean(key, _RANGE_KEYS)
            yield (key,), f"unknown key {key!r}{hint}; allowed: {', '.join(_RANGE_KEYS)}"
    numbers = True
    for end in ("low", "high"):
        if end not in value:
            numbers = False
            yield (), f"a range needs {end!r}: expected {{ low = ..., high = ... }}, got {value!r}"
            continue
        for _, text in _value_problems(found, value[end]):
            numbers = False
            yield (end,), text
    step_problems = list(_step_problems(found, value))
    yield from step_problems
    if numbers:
        step = None if step_problems or found.kind == "int" else value.get("step")
        yield from _end_problems(value["low"], value["high"], step, log=value.get("log") is True)


def _end_problems(low: float, high: float, step: float | None, *, log: bool) -> Iterator[Misfit]:
    if low > high:
        yield (), f"low {low!r} is above high {high!r}"
    elif log and low <= 0:
        yield ("log",), f"a logarithmic range must start above 0, not at {low!r}"
    elif not is_finite(high - low):
        yield (), f"from {low!r} to {high!r} is further than a number can say"
    elif step is not None and max(-low, high) > _FINEST * step:
        least = max(-low, high) / _FINEST
        yield ("step",), f"expected at least {least:g}, or no step at all, got {step!r}"


def _step_problems(found: Parameter, value: Mapping[str, Any]) -> Iterator[Misfit]:
    step, log = value.get("step"), value.get("log", False)
    kinds = int if found.kind == "int" else (int, float)
    if step is not None and not (
        isinstance(step, kinds) and not isinstance(step, bool) and step > 0 and is_finite(step)
    ):
        yield ("step",), f"expected a {_NUMBERS[found.kind]} above 0, got {step!r}"
    if not isinstance(log, bool):
        yield ("log",), f"expected true or false, got {log!r}"
    elif log and step is not None:
        yield ("step",), "step and log exclude each other; leave one out"
