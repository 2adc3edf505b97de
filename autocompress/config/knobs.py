"""The values of a knob in ``[search]``, checked against the table of knobs."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from autocompress.registry import did_you_mean

if TYPE_CHECKING:
    from autocompress.search.knobs import Knob
    from autocompress.search.space import Dimension

Problem = tuple[tuple[str, ...], str]  # path below what is checked, what is wrong there
_RANGE_KEYS = ("low", "high", "step", "log")
_EXCLUDE = "exclude"


def _table() -> "Mapping[str, Knob]":
    from autocompress.search.knobs import KNOBS  # the table names techniques: it loads torch

    return KNOBS


def with_defaults(search: Mapping[str, Any]) -> dict[str, Any]:
    """Add the default of every knob that a ``[search]`` table does not name, as a constant."""
    known = _table().values()
    missing = {k.name: k.default for k in known if k.name not in search and k.default is not None}
    return {**search, **missing}


def dimension_of(value: Any) -> "Dimension":
    """Return what a checked value of a knob spans: a constant, choices, or a range."""
    from autocompress.search.space import Choices, Constant, Range

    if isinstance(value, list):
        return Choices(tuple(value))
    return Range(**value) if isinstance(value, Mapping) else Constant(value)


def refuse_bad_knobs(search: Mapping[str, Any], title: str) -> None:
    """Check every knob of a ``[search]`` table.

    Raises:
        ValidationError: with all that is wrong, each at its path.
    """
    knobs = _table()
    problems: list[Problem] = []
    for name, value in search.items():
        if name in knobs:
            found = _problems(knobs[name], value)
            problems += [((name, *path), f"{text} ({knobs[name].doc})") for path, text in found]
        else:
            allowed = [*knobs, _EXCLUDE]
            text = f"unknown knob {name!r}{did_you_mean(name, allowed)}; allowed: {_list(allowed)}"
            problems.append(((name,), text))
    if not problems and not any(_varies(value) for value in search.values()):
        text = "the search space is empty: give at least one knob a list or a range of values, "
        problems.append(((), text + "such as sparsity = { low = 0.0, high = 0.9 }"))
    _raise(problems, search, title)


def refuse_precisions(search: Mapping[str, Any], runtime: str, device: str) -> None:
    """Check that what is measured can run at every precision of a ``[search]`` table.

    Raises:
        ValidationError: with all that is wrong, at ``search.precision``.
    """
    wanted = search.get("precision", [])
    names = wanted if isinstance(wanted, list) else [wanted]
    needs = {
        "int8": ("latency.runtime", "onnxruntime", runtime),
        "fp16": ("latency.device", "cuda", device),
    }
    problems: list[Problem] = []
    for name in names:
        if name in needs and needs[name][1] != needs[name][2]:
            setting, needed, given = needs[name]
            text = f"{name!r} needs {setting} = {needed!r}, not {given!r}"
            problems.append((("search", "precision"), text))
    _raise(problems, search, "StudyConfig")


def _raise(problems: list[Problem], search: Mapping[str, Any], title: str) -> None:
    if not problems:
        return
    errors = [
        InitErrorDetails(
            type=PydanticCustomError("knob", "{text}", {"text": text}), loc=path, input=search
        )
        for path, text in problems
    ]
    raise ValidationError.from_exception_data(title, errors)


def _varies(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) > 1
    return isinstance(value, Mapping) and value["low"] < value["high"]


def _problems(knob: "Knob", value: Any) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        yield from _range_problems(knob, value)
    elif not isinstance(value, list):
        yield from _value_problems(knob, value)
    elif not value:
        yield (), f"an empty list leaves nothing to choose; expected {_allowed(knob)}"
    else:
        for entry in value:
            yield from _value_problems(knob, entry)
        if any(entry in value[:index] for index, entry in enumerate(value)):
            yield (), f"a value is listed twice in {value!r}"


def _value_problems(knob: "Knob", value: Any) -> Iterator[Problem]:
    hint = ""
    if knob.choices is not None:
        good = value in knob.choices
        hint = did_you_mean(str(value), knob.choices)
    elif knob.kind == "boolean":
        good = isinstance(value, bool)
    else:
        good = _is_number(knob, value) and _within(knob, value)
    if not good:
        yield (), f"expected {_allowed(knob)}, got {value!r}{hint}"


def _range_problems(knob: "Knob", value: Mapping[str, Any]) -> Iterator[Problem]:
    if knob.kind not in ("float", "int"):
        yield (), f"cannot be a range; expected {_allowed(knob)}"
        return
    for key in value:
        if key not in _RANGE_KEYS:
            hint = did_you_mean(key, _RANGE_KEYS)
            yield (key,), f"unknown key {key!r}{hint}; allowed: {_list(_RANGE_KEYS)}"
    numbers = True
    for end in ("low", "high"):
        if end not in value:
            numbers = False
            yield (), f"a range needs {end!r}: expected {{ low = ..., high = ... }}, got {value!r}"
            continue
        for _, text in _value_problems(knob, value[end]):
            numbers = False
            yield (end,), text
    yield from _step_problems(knob, value)
    if numbers and value["low"] > value["high"]:
        yield (), f"low {value['low']!r} is above high {value['high']!r}"
    elif numbers and value.get("log") is True and value["low"] <= 0:
        yield ("log",), f"a logarithmic range must start above 0, not at {value['low']!r}"


def _step_problems(knob: "Knob", value: Mapping[str, Any]) -> Iterator[Problem]:
    step, log = value.get("step"), value.get("log", False)
    if step is not None and not (_is_number(knob, step) and step > 0):
        yield ("step",), f"expected a {_NUMBERS[knob.kind]} above 0, got {step!r}"
    if not isinstance(log, bool):
        yield ("log",), f"expected true or false, got {log!r}"
    elif log and step is not None:
        yield ("step",), "step and log exclude each other; leave one out"


_NUMBERS = {"float": "number", "int": "whole number"}


def _is_number(knob: "Knob", value: Any) -> bool:
    kinds = int if knob.kind == "int" else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _within(knob: "Knob", value: float) -> bool:
    return (knob.low is None or value >= knob.low) and (knob.high is None or value <= knob.high)


def _allowed(knob: "Knob") -> str:
    if knob.choices is not None:
        return f"one of {_list(knob.choices)}"
    if knob.kind == "boolean":
        return "true or false"
    return f"a {_NUMBERS[knob.kind]} from {knob.low} to {knob.high}"


def _list(names: Any) -> str:
    return ", ".join(names)
