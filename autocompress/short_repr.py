"""Short representations: what a notebook shows of an object is a few lines at most."""

import reprlib
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST = 100  # characters of a value


class _Values(reprlib.Repr):
    """Writes values of fields; what is long is named by its type, and its shape if it has one."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring, self.maxtuple, self.maxlist, self.maxdict = LONGEST, 4, 4, 3

    def repr_instance(self, x: Any, level: int) -> str:
        """Write what is neither a number nor a text nor a collection."""
        name = type(x).__name__
        if callable(x) and hasattr(x, "__name__"):
            return str(x.__name__)
        if hasattr(x, "shape"):
            return f"<{name} {list(x.shape)}>"
        text = repr(x)
        fits = len(text) <= LONGEST and "\n" not in text and " at 0x" not in text
        return text if fits else f"<{name}>"


_VALUES = _Values()


def short_repr(cls: type[T]) -> type[T]:
    """Let a dataclass show the fields that are not at their default, each in short.

    Example:
        >>> from dataclasses import dataclass
        >>> @short_repr
        ... @dataclass
        ... class Wave:
        ...     samples: list[int]
        ...     rate: int = 44100
        ...     title: str = ""
        >>> Wave(list(range(1000)), title="noise")
        Wave(samples=[0, 1, 2, 3, ...], title='noise')
    """

    def __repr__(self: Any) -> str:  # noqa: N807
        values = [(entry, getattr(self, entry.name)) for entry in fields(self)]
        shown = [
            f"{entry.name}={_VALUES.repr(value)}"
            for entry, value in values
            if entry.repr and not _is_default(entry, value)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    cls.__repr__ = __repr__  # type: ignore[method-assign]
    return cls


def _is_default(entry: "Field[Any]", value: Any) -> bool:
    default = entry.default
    if entry.default_factory is not MISSING:
        default = entry.default_factory()
    return type(value) is type(default) and bool(value == default)
