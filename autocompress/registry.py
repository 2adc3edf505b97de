"""Named things: a registry is filled with the objects themselves, so a name is written once."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from autocompress.errors import ConfigurationError

T = TypeVar("T", bound=Callable[..., Any])


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for a near miss of an allowed name, else an empty string."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Registry(Mapping[str, T]):
    """A mapping from names to functions or classes, open for more; a wrong name is a clear error.

    Args:
        kind: what the entries are, in the singular, for error messages: ``"criterion"``.
        entries: those that are there from the start, in the order in which users see them.

    Example:
        >>> shapes = by_name("shape", abs)
        >>> @shapes.register
        ... def doubled(value):
        ...     return 2 * value
        >>> list(shapes)
        ['abs', 'doubled']
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    @overload
    def register(self, function: T, name: str | None = None) -> T: ...
    @overload
    def register(self, *, name: str) -> Callable[[T], T]: ...
    def register(self, function: T | None = None, name: str | None = None) -> Any:
        """Add an entry, also as a decorator: ``@register`` or ``@register(name="x")``.

        A function that is defined anew, as in a notebook's cell that runs again, replaces itself.

        Args:
            function: the entry.
            name: its name; by default its own ``__name__``.

        Returns:
            the entry itself.

        Raises:
            ConfigurationError: the name is taken.
        """
        if function is None:
            return lambda decorated: self.register(decorated, name)
        key = function.__name__ if name is None else name
        if key in self._entries and not is_again(self._entries[key], function):
            raise ConfigurationError(
                f"there already is a {self.kind} {key!r}: choose another name"
            )
        self._entries[key] = function
        return function

    def unregister(self, name: str) -> None:
        """Remove an entry, as tests do with what they added.

        Raises:
            ConfigurationError: there is none of this name.
        """
        self[name]
        del self._entries[name]

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


def is_again(known: Any, new: Any) -> bool:
    """Return whether a function or class is another one's definition, run again.

    Args:
        known: the function or class.
        new: one that was made later.
    """
    names = ("__module__", "__qualname__")
    first, second = ([getattr(thing, name, None) for name in names] for thing in (known, new))
    return known is not new and None not in first and first == second


def by_name(kind: str, *objects: T) -> Registry[T]:
    """Build a registry from functions or classes, each under its own ``__name__``.

    Args:
        kind: what the entries are, in the singular, for error messages: ``"criterion"``.
        objects: the entries, in the order in which they are listed to the user.

    Raises:
        ConfigurationError: two share a name.
    """
    registry: Registry[T] = Registry(kind, {})
    for thing in objects:
        registry.register(thing)
    return registry


def declare(**properties: Any) -> Callable[[T], T]:
    """Declare properties of a function beside it, for those who look them up by ``declared``.

    Example:
        >>> @declare(returns_to_dense=True)
        ... def there_and_back(progress):
        ...     return 4 * progress * (1 - progress)
        >>> declared(there_and_back, "returns_to_dense", default=False)
        True
    """

    def decorate(function: T) -> T:
        for name, value in properties.items():
            setattr(function, name, value)
        return function

    return decorate


def declared(function: Callable[..., Any], name: str, *, default: Any) -> Any:
    """Return a property that a function declares; the default where it declares none."""
    return getattr(function, name, default)
