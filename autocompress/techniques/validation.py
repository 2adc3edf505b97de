"""Checks that the settings of several techniques share; each returns the problems it found."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.registry import Registry, did_you_mean


def is_number(value: object) -> bool:
    """Return whether a value is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def not_a_fraction(name: str, value: object, *, above_zero: bool = False) -> list[str]:
    """Return a problem unless a value is a number in [0, 1], or in (0, 1]."""
    if is_number(value) and 0 <= value <= 1 and not (above_zero and value == 0):  # type: ignore[operator]
        return []
    bounds = "(0, 1]" if above_zero else "[0, 1]"
    return [f"{name}: expected a number in {bounds}, got {value!r}"]


def not_sparsities(name: str, value: object) -> list[str]:
    """Return problems unless a value is one number in [0, 1], or three."""
    if not isinstance(value, tuple):
        return not_a_fraction(name, value)
    if len(value) != 3:
        return [f"{name}: expected one number or three (early, middle, late), got {value!r}"]
    return [problem for number in value for problem in not_a_fraction(name, number)]


def not_registered(name: str, value: str, registry: Registry) -> list[str]:  # type: ignore[type-arg]
    """Return a problem unless a value is the name of an entry."""
    if value in registry:
        return []
    return [
        f"{name}: unknown {registry.kind} {value!r}{did_you_mean(str(value), registry)}; "
        f"allowed: {', '.join(registry)}"
    ]


def not_patterns(name: str, value: object) -> list[str]:
    """Return a problem unless a value is a tuple of names."""
    if isinstance(value, tuple) and all(isinstance(entry, str) for entry in value):
        return []
    return [f"{name}: expected a tuple of layer names or patterns, got {value!r}"]


def raise_if(problems: Sequence[str]) -> None:
    """Raise one ``ConfigurationError`` with all problems, if there are any."""
    if problems:
        raise ConfigurationError(problems)


def matching_pattern(name: str, patterns: Sequence[str]) -> str | None:
    """Return the first pattern that matches a layer's name, or that of a module it is in."""
    parts = name.split(".")
    prefixes = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return next((p for p in patterns if any(fnmatchcase(x, p) for x in prefixes)), None)


def check_patterns(model: nn.Module, patterns: Sequence[str]) -> None:
    """Raise unless every pattern matches a module of the model.

    Raises:
        ConfigurationError: names the patterns that match nothing.
    """
    names = [name for name, _ in model.named_modules() if name]
    raise_if(
        [
            f"exclude: no layer of {type(model).__name__} matches {p!r}{did_you_mean(p, names)}"
            for p in patterns
            if not any(fnmatchcase(name, p) for name in names)
        ]
    )
