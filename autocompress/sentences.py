"""How values, and what others say, are written in messages: short, and in one line."""

import reprlib

_SHORTENED = reprlib.Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 200
_SHORTENED.maxlist = _SHORTENED.maxtuple = _SHORTENED.maxdict = 10


def shown(value: object) -> str:
    """Return a value as messages show it: a long one in part.

    Example:
        >>> shown([0] * 100)
        '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...]'
    """
    return _SHORTENED.repr(value)


def one_line(text: object) -> str:
    """Return a text, or an error's, in one line that any terminal can show."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
