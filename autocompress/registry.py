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
        self._from_start = frozenset(entries)

    @overload
    def register(self, function: T, name: str | None = None) -> T: ...
    @overload
    def register(self, *, name: str) -> Callable[[T], T]: ...
    def register(self, function: T | None = None, name: str | None = None) -> Any:
        """Add an entry, also as a decorator: ``@register`` or ``@register(name="x")``.

        It replaces what was added under its name before, as a notebook's cell that runs again
        does; never an entry that was there from the start.

        Args:
            function: the entry.
            name: its name; by default its own ``__name__``.

        Returns:
            the entry itself.

        Raises:
            ConfigurationError: the name is one of those from the start, or there is none.
        """
        if function is None:
            return lambda decorated: self.register(decorated, name)
        key = name_of(function, self.kind) if name is None else name
        if key in self._from_start and key in self._entries:
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

    def __repr__(self) -> str:
        return f"<Registry, {self.kind}: {', '.join(self)}>"

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


def name_of(function: Callable[..., Any], kind: str) -> str:
    """Return the name that a function or class was defined by.

    Args:
        function: the function or class.
        kind: what it is, in the singular, for the error message: ``"criterion"``.

    Raises:
        ConfigurationError: it has none: a ``lambda``, or an object such as ``partial`` makes.
    """
    name = str(getattr(function, "__name__", "<lambda>"))
    if name == "<lambda>":
        raise ConfigurationError(f"a {kind} needs a name, as def gives it: {function!r} has none")
    return name


def by_name(kind: str, *objects: T) -> Registry[T]:
    """Build a registry from functions or classes, each under its own ``__name__``.

    Args:
        kind: what the entries are, in the singular, for error messages: ``"criterion"``.
        objects: the entries, in the order in which they are listed to the user.

    """
    return Registry(kind, {name_of(thing, kind): thing for thing in objects})


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
