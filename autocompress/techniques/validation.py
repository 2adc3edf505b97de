"""Layers that a user names by patterns."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean


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
    problems = [
        f"exclude: no layer of {type(model).__name__} matches {p!r}{did_you_mean(p, names)}"
        for p in patterns
        if not any(fnmatchcase(name, p) for name in names)
    ]
    if problems:
        raise ConfigurationError(problems)
