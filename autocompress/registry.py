"""Named things: a registry is built from the objects themselves, so a name is written once."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from autocompress.errors import ConfigurationError

T = TypeVar("T", bound=Callable[..., Any])


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for a near miss of an allowed name, else an empty string."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Registry(Mapping[str, T]):
    """A read-only mapping from names to functions or classes; a wrong name is a clear error."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigurationError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, self._entries)}; "
                f"allowed: {', '.join(self._entries)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def by_name(kind: str, *objects: T) -> Registry[T]:
    """Build a registry from functions or classes, each under its own ``__name__``.

    Args:
        kind: what the entries are, in the singular, for error messages: ``"criterion"``.
        objects: the entries, in the order in which they are listed to the user.
    """
    entries = {thing.__name__: thing for thing in objects}
    if len(entries) != len(objects):
        raise ValueError(f"two entries of the {kind} registry share a name")
    return Registry(kind, entries)
