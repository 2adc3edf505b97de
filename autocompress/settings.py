"""Settings describe themselves: help, bounds and allowed names stand beside a field's default.

Everything that checks, reads, searches or documents a setting works from these descriptions, so
that a new one is written once:

    @dataclass(frozen=True)
    class Quantization:
        bits: int = setting(8, help="of a weight", low=2, high=8)

        def __post_init__(self):
            check(self)
"""

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean
from autocompress.sentences import shown

_KEY = "autocompress"
LARGEST = 2**63 - 1  # whole number that a setting or document may have
REFERENCE = "package.module:function"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is said of a setting beside its default.

    Attributes:
        help: what it does, in one line.
        low: smallest allowed number; ``None``: no bound.
        high: largest allowed number.
        above: ``low`` itself is not allowed.
        below: ``high`` itself is not allowed.
        names: allowed texts, such as a registry, or a function that returns them; they are read
            at each check, so that a name which was just registered is allowed at once.
        references: ``"package.module:function"`` is allowed beside the names.
        check: returns what is wrong with a value of the right type, or an empty text.
        off: the value that leaves a setting or, if it is a switch, its stage out, in a search.
        switch: a stage is left out where all its switches are off.
        active: whether a setting has an effect, given the other settings of its class by name.
        yields_to: name of a setting that decides instead, unless it is off.
        parts: names of the elements, for a setting that may be a tuple of so many numbers.
        needs: name of a stage without which this stage has nothing to do.
        key: its name in a study file, where that is another.
        parse: brings what a file says to the setting's type; it raises ``ValueError``.
    """

    help: str = ""
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    names: Iterable[str] | Callable[[], Iterable[str]] | None = None
    references: bool = False
    check: Callable[[Any], str] | None = None
    off: Any = None
    switch: bool = False
    active: Callable[[Mapping[str, Any]], bool] | None = None
    yields_to: str | None = None
    parts: tuple[str, ...] = ()
    needs: str | None = None
    key: str = ""
    parse: Callable[[Any], Any] | None = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The allowed names, as they are now."""
        if self.names is None:
            return ()
        return tuple(self.names() if callable(self.names) else self.names)


@dataclass(frozen=True)
class Described:
    """One field of a settings class.

    Attributes:
        name: of the field.
        hint: its type.
        default: ``MISSING`` where it has none.
        rule: what is said of it.
    """

    name: str
    hint: Any
    default: Any
    rule: Rule

    @property
    def key(self) -> str:
        """Its name in a study file."""
        return self.rule.key or self.name

    @cached_property
    def options(self) -> tuple[Any, ...]:
        """The types that its value may have, one by one."""
        return options_of(self.hint)

    @cached_property
    def nested(self) -> type | None:
        """The settings class that its value is of, if it is one."""
        return next((kind for kind in self.options if is_settings_class(kind)), None)

    def misfit(self, value: Any) -> str:
        """Return what is wrong with a value: what was expected and what came; empty if nothing."""
        if not any(_fits(value, kind, self.rule) for kind in self.options):
            hint = did_you_mean(value, self._names()) if isinstance(value, str) else ""
            return f"expected {self.expected()}, got {shown(value)}{hint}"
        problem = self.rule.check(value) if self.rule.check and value is not None else ""
        return f"{problem}, got {shown(value)}" if problem else ""

    def expected(self) -> str:
        """Return in words what is allowed."""
        kinds = [kind for kind in self.options if kind is not type(None)]
        return " or ".join(dict.fromkeys(_words(kind, self.rule) for kind in kinds))

    def _names(self) -> list[str]:
        literal = [name for kind in self.options for name in get_args(kind) if _literal(kind)]
        return [*self.rule.allowed, *map(str, literal)]


def setting(default: Any = MISSING, *, help: str, **rule: Any) -> Any:  # noqa: A002
    """Declare a field of a settings class; without a default it must be given.

    Args:
        default: its value; a class such as ``dict`` is called for each instance.
        help: what it does, in one line.
        rule: further fields of :class:`Rule`.
    """
    metadata = {_KEY: Rule(help=help, **rule)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def describe(cls: type) -> Mapping[str, Described]:
    """Return the fields of a settings class by name; any dataclass is one.

    A field that does not count in comparisons, such as where a study was read, is no setting.

    Example:
        >>> from autocompress.techniques.distillation import Distillation
        >>> describe(Distillation)["weight"].expected()
        'a number in [0, 1]'
    """
    return _described(cls)


@cache
def _described(cls: Any) -> Mapping[str, Described]:
    hints = get_type_hints(cls)
    found = {}
    for entry in fields(cls):
        if not entry.compare:
            continue
        default = entry.default
        if entry.default_factory is not MISSING:
            default = entry.default_factory()
        rule = entry.metadata.get(_KEY, Rule())
        found[entry.name] = Described(entry.name, hints[entry.name], default, rule)
    return types.MappingProxyType(found)


def misfits(settings: Any) -> dict[str, str]:
    """Return what is wrong with each field of an instance, by the field's name."""
    known = describe(type(settings))
    found = {name: entry.misfit(getattr(settings, name)) for name, entry in known.items()}
    return {name: problem for name, problem in found.items() if problem}


def check(settings: Any, *contradictions: Callable[..., str]) -> None:
    """Check all fields of an instance, and that they do not contradict each other.

    Args:
        settings: an instance of a settings class.
        contradictions: each returns a line that begins with a field's name and a colon, or an
            empty text. One whose parameters name fields is asked only if these are fine, and
            receives their values.

    Raises:
        ConfigurationError: one line for everything that is wrong.
    """
    wrong = misfits(settings)
    lines = [f"{name}: {problem}" for name, problem in wrong.items()]
    for contradiction in contradictions:
        about = list(inspect.signature(contradiction).parameters)
        if not wrong.keys() & set(about):
            lines.append(contradiction(*(getattr(settings, name) for name in about)))
    if any(lines):
        raise ConfigurationError(line for line in lines if line)


def options_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def is_settings_class(kind: Any) -> TypeGuard[type]:
    """Return whether a type is a dataclass."""
    return isinstance(kind, type) and is_dataclass(kind)


def is_finite(number: float) -> bool:
    """Return whether a number is neither infinite nor NaN, and no integer beyond all floats."""
    return abs(number) <= sys.float_info.max


def _literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _fits(value: Any, kind: Any, rule: Rule) -> bool:
    """Return whether a value is of a type, which is no union, and within the bounds."""
    if kind is Any:
        return True
    if _literal(kind):
        return any(value == name and type(value) is type(name) for name in get_args(kind))
    if kind is float:
        return _is_number(value, (int, float)) and _within(value, rule)
    if kind is int:
        return _is_number(value, int) and _within(value, rule)
    if kind is str:
        return isinstance(value, str) and _is_allowed(value, rule)
    origin = get_origin(kind) or kind
    if origin is tuple:
        return isinstance(value, tuple) and _elements_fit(value, get_args(kind), rule)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key_type, of = get_args(kind) or (str, Any)
        return isinstance(value, Mapping) and all(
            isinstance(key, key_type) and _fits_any(entry, of, rule)
            for key, entry in value.items()
        )
    return not isinstance(origin, type) or isinstance(value, origin)


def _fits_any(value: Any, hint: Any, rule: Rule) -> bool:
    return any(_fits(value, kind, rule) for kind in options_of(hint))


def _elements_fit(value: tuple[Any, ...], of: tuple[Any, ...], rule: Rule) -> bool:
    if len(of) == 2 and of[1] is Ellipsis:
        return all(_fits_any(entry, of[0], rule) for entry in value)
    return len(value) == len(of) and all(
        _fits_any(entry, hint, rule) for entry, hint in zip(value, of, strict=True)
    )


def _is_number(value: Any, kinds: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return abs(value) <= LARGEST if isinstance(value, int) else is_finite(value)


def _within(value: float, rule: Rule) -> bool:
    low, high = rule.low, rule.high
    above = low is None or (value > low if rule.above else value >= low)
    return above and (high is None or (value < high if rule.below else value <= high))


def _is_allowed(value: str, rule: Rule) -> bool:
    if rule.names is None or value in rule.allowed:
        return True
    return rule.references and ":" in value


def _words(kind: Any, rule: Rule) -> str:
    if _literal(kind):
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + _bounds(rule)
    if kind is str and rule.names is not None:
        names = [*rule.allowed, *([f"'{REFERENCE}'"] if rule.references else [])]
        return f"one of {', '.join(names)}" if names else "a name, of which there are none"
    origin, of = get_origin(kind) or kind, get_args(kind)
    if origin is tuple and of and of[-1] is not Ellipsis:
        number = {2: "two", 3: "three"}.get(len(of), str(len(of)))
        return f"{number} of them" + (f" ({', '.join(rule.parts)})" if rule.parts else "")
    if origin is tuple:
        return f"a list of {_many(of[0], rule)}" if of else "a list"
    if isinstance(origin, type) and (issubclass(origin, Mapping) or is_dataclass(origin)):
        return (
            "a table of keys"
            if len(of) < 2 or of[1] is Any
            else f"a table of {_many(of[1], rule)}"
        )
    known = {bool: "true or false", str: "a text in quotes", datetime: "a time in ISO 8601"}
    return known.get(kind, str(getattr(kind, "__name__", kind)))


def _many(hint: Any, rule: Rule) -> str:
    """Return the plural of what a list or table holds."""
    if get_origin(hint) is tuple:
        return "pairs" if len(get_args(hint)) == 2 else "lists"
    plural = {float: "numbers", int: "whole numbers", str: "texts"}.get(hint, "values")
    return plural + (_bounds(rule) if hint in (int, float) else "")


def _bounds(rule: Rule) -> str:
    low, high = (str(b) if isinstance(b, int) else f"{b or 0:g}" for b in (rule.low, rule.high))
    if rule.low is not None and rule.high is not None:
        return f" in {'(' if rule.above else '['}{low}, {high}{')' if rule.below else ']'}"
    if rule.low is not None:
        return f" > {low}" if rule.above else f" of at least {low}"
    if rule.high is not None:
        return f" < {high}" if rule.below else f" of at most {high}"
    return ""
