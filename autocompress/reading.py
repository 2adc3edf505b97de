"""From plain data, such as JSON or TOML gives, to settings; everything wrong with it at once.

Any frozen dataclass can be read: what a file of settings holds, or a document of a run or bundle.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean
from autocompress.sentences import shown
from autocompress.settings import (
    Described,
    Rule,
    describe,
    is_finite,
    is_settings_class,
    options_of,
)

T = TypeVar("T")
Path = tuple[str, ...]
Misfit = tuple[Path, str]
"""Where something is wrong, below what is read, and what."""
_AS_THEY_ARE = (float, bool, type(None))  # types of values that are never converted
_DIGITS = 10  # of numbers that are keys
_FIRST_YEAR, _LAST_YEAR = 1970, 3000  # beyond, times cannot be brought into every zone


def read(
    cls: type[T], data: Any, *, elsewhere: Callable[[str], str] = lambda _: ""
) -> tuple[T | None, list[Misfit]]:
    """Build settings from a mapping, and those that they hold from the mappings in it.

    Args:
        cls: a settings class.
        data: values by the fields' keys; lists become tuples where the fields want these.
        elsewhere: returns where a key that the class does not have may belong, or an empty text.

    Returns:
        The settings, or ``None`` where there are problems; and the problems.
    """
    if not isinstance(data, Mapping):
        return None, [((), f"expected a table of keys, got {shown(data)}")]
    entries = {entry.key: entry for entry in describe(cls).values()}
    problems: list[Misfit] = [
        ((key,), unknown_key(key, list(entries), elsewhere)) for key in data if key not in entries
    ]
    values: dict[str, Any] = {}
    missing = False
    for key, entry in entries.items():
        if key in data:
            values[entry.name], found = _value(entry, data[key])
            problems += [((key, *path), text) for path, text in found]
            missing = missing or bool(found)
        elif entry.default is MISSING:
            problems.append(((key,), "missing"))
            missing = True
    if missing:
        return None, problems
    settings, found = build(cls, values)
    problems += found
    return (None if problems else settings), problems


def read_as(hint: Any, data: Any) -> tuple[Any, list[Misfit]]:
    """Build what a type says from plain data: settings, or a tuple or mapping of them."""
    if is_settings_class(hint):
        return read(hint, data)
    return _value(Described("", hint, MISSING, Rule()), data)


def build(cls: type[T], values: Mapping[str, Any]) -> tuple[T | None, list[Misfit]]:
    """Build settings from checked values by the fields' names; they may contradict each other."""
    try:
        return cls(**values), []
    except ConfigurationError as error:
        names = {entry.name for entry in fields(cls)}  # type: ignore[arg-type]
        return None, [located(line, names) for line in error.problems]
    except (TypeError, ValueError) as error:  # of a class of the user's
        return None, [((), str(error) or type(error).__name__)]


def located(line: str, names: set[str]) -> Misfit:
    """Split a line ``"NAME: what is wrong"`` of an error into place and text."""
    head, _, rest = line.partition(": ")
    parts = tuple(head.split("."))
    return (parts, rest) if parts[0] in names and rest else ((), line)


def plain(value: Any) -> Any:
    """Return settings, or what they hold, as nested plain values, ready for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def unknown_key(
    name: str, allowed: list[str], elsewhere: Callable[[str], str] = lambda _: ""
) -> str:
    """Return a message about a key that does not exist."""
    home = elsewhere(name)
    hint = f" (did you mean {home!r}?)" if home else did_you_mean(name, allowed)
    return f"unknown key {name!r}{hint}; allowed: {', '.join(allowed)}"


def in_lines(problems: list[Misfit], where: str) -> list[str]:
    """Return one line for each problem, with its dotted path below ``where``."""
    return [f"{'.'.join([where, *path] if where else path)}: {text}" for path, text in problems]


def _value(entry: Described, given: Any) -> tuple[Any, list[Misfit]]:
    """Return a field's value as its type wants it, and what is wrong with it."""
    if entry.nested is not None and isinstance(given, Mapping):
        return read(entry.nested, given)
    if _holds_settings(entry.hint) and isinstance(given, list | Mapping):
        return _elements(entry, given)
    if entry.rule.parse is not None:
        try:
            given = entry.rule.parse(given)
        except ValueError as error:
            return None, [((), str(error))]
    value = converted(given, entry.hint)
    problem = entry.misfit(value)
    return value, [((), problem)] if problem else []


def _elements(entry: Described, given: Any) -> tuple[Any, list[Misfit]]:
    """Read a list or table of settings, element by element."""
    wanted = tuple if isinstance(given, list) else Mapping
    of = next((get_args(kind) for kind in entry.options if _is_of(kind, wanted)), None)
    if of is None:
        return None, [((), f"expected {entry.expected()}, got {shown(given)}")]
    one = Described(entry.name, of[0] if wanted is tuple else of[1], MISSING, entry.rule)
    pairs: Iterable[tuple[Any, Any]] = enumerate(given) if wanted is tuple else given.items()
    values: dict[Any, Any] = {}
    problems: list[Misfit] = []
    for key, element in pairs:
        name = key
        if wanted is Mapping and of[0] is int:
            name = int(key) if key.isdecimal() and len(key) < _DIGITS else None
        if name is None:
            problems.append(((key,), "expected a whole number as its key"))
        values[name], found = _value(one, element)
        problems += [((str(key), *path), text) for path, text in found]
    return (tuple(values.values()) if wanted is tuple else values), problems


@cache
def _holds_settings(hint: Any) -> bool:
    """Return whether a type is a tuple or mapping of settings, or may be one."""
    return any(
        is_settings_class(part) or _holds_settings(part)
        for kind in options_of(hint)
        if _is_of(kind, (tuple, Mapping))
        for of in get_args(kind)
        for part in options_of(of)
    )


def _is_of(kind: Any, origins: type | tuple[type, ...]) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, origins)


def converted(value: Any, hint: Any) -> Any:
    """Return what JSON or TOML gave as a type has it.

    Lists become tuples, whole numbers floats, and texts in ISO 8601 times with their zone.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    kinds = options_of(hint)
    if isinstance(value, list):
        of = next((get_args(kind) for kind in kinds if get_origin(kind) is tuple), None)
        if of is None:
            return value
        hints = of if of[-1] is not Ellipsis else of[:1] * len(value)
        hints = hints if len(hints) == len(value) else (Any,) * len(value)
        return tuple(converted(entry, part) for entry, part in zip(value, hints, strict=True))
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return float(value) if int not in kinds and is_finite(value) else value
    if isinstance(value, str) and datetime in kinds:
        return as_time(value) or value
    return value


def as_time(text: str) -> datetime | None:
    """Return the time that a text in ISO 8601 says, with a zone; ``None`` where it says none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(found.tzinfo) if _FIRST_YEAR < found.year < _LAST_YEAR else None
