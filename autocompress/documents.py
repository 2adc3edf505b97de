"""Documents of runs and bundles, which anyone may have changed, are read within bounds.

Size comes first, then the syntax, depth and numbers, then the types of what the document is read
as: all that is wrong ends in one sentence that names the file, the key, and what was expected.
"""

import json
import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from autocompress.errors import RunError
from autocompress.reading import in_lines, read_as
from autocompress.sentences import one_line
from autocompress.settings import LARGEST, describe

T = TypeVar("T")
MOST_BYTES = 16 * 2**20  # of a document in JSON
MOST_TOML_BYTES = 2**20  # of one in TOML, which takes longer to read
DEEPEST = 32  # lists and tables within each other
SHOWN = 3  # things that are wrong, in one sentence


def read_document(cls: type[T], path: Path, *, needs: Collection[str] = ()) -> T:
    """Read a JSON file as a frozen dataclass.

    Args:
        cls: the class.
        path: of the file.
        needs: keys that must be there although their fields have a default.

    Raises:
        RunError: the file is missing or damaged.
    """
    return typed(cls, read_json(path), f"{path} is damaged", needs=needs)


def typed(cls: type[T], data: Any, where: str, *, needs: Collection[str] = ()) -> T:
    """Return plain data as a frozen dataclass, with all that it holds.

    Args:
        cls: the class, or a tuple of one: ``tuple[LayerChange, ...]``.
        data: as JSON gives it.
        where: begins the message.
        needs: keys that must be there although their fields have a default.

    Raises:
        RunError: a key is missing or unknown, or its value of another type or out of range.
    """
    found: T
    found, problems = read_as(cls, data)
    if isinstance(data, Mapping):
        problems += [((key,), "missing") for key in needs if key not in data]
    if problems:
        lines = [line.removeprefix(": ") for line in in_lines(problems, "")]
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise RunError(one_line(f"{where}: {'; '.join(lines[:SHOWN])}{more}"))
    return found


def known_part(cls: type, data: Any) -> Any:
    """Return a document, or the rows of one, without keys that another release has put in.

    Args:
        cls: the class that it, or each row, is read as.
        data: as JSON gives it; what is no table stays as it is.
    """
    if isinstance(data, list):
        return [known_part(cls, row) for row in data]
    if isinstance(data, Mapping):
        return {key: value for key, value in data.items() if key in describe(cls)}
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunError: the file is missing, too large, or not JSON; the message names it.
    """
    return parse_json(read_content(path), str(path))


def parse_json(content: bytes, where: str) -> Any:
    """Return what a JSON document holds.

    Args:
        content: of the document.
        where: names it, for messages.

    Raises:
        RunError: it is too large or too deep, is no JSON, or has a number that is out of range.
    """
    _check_size(len(content), MOST_BYTES, where)
    try:
        data = json.loads(content, parse_constant=_refuse_constant)
        _check_values(data)
        if b"\\ud" in content.lower():  # half a character cannot be written anywhere
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise RunError(f"{where} is damaged: {_TOO_DEEP}") from None
    except ValueError as error:
        raise RunError(one_line(f"{where} is not valid JSON: {error}")) from error
    return data


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RunError: the file is missing, too large, or not TOML; the message names it.
    """
    try:
        return parse_toml(read_content(path, MOST_TOML_BYTES).decode())
    except ValueError as error:
        raise RunError(one_line(f"{path} cannot be read: {error}")) from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML document holds.

    Raises:
        ValueError: it is too deep, or no TOML.
    """
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    for _ in _levels(data):
        pass
    return data


_TOO_DEEP = f"its lists and tables are more than {DEEPEST} deep"


def read_content(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what a file of at most so many bytes holds.

    Raises:
        RunError: it is missing, too large, or cannot be read.
    """
    try:
        _check_size(path.stat().st_size, most, str(path))
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def _check_size(size: int, most: int, where: str) -> None:
    if size > most:
        raise RunError(f"{where} has {size:,} bytes, and at most {most:,} are read")


def _check_values(data: Any) -> None:
    """Refuse what is too deep, and numbers that no computation can go on with."""
    for level in _levels(data):
        for value in level:
            if isinstance(value, int) and abs(value) > LARGEST:
                raise ValueError("a whole number of more than 64 bits")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"the number {value}")


def _levels(data: Any) -> Iterator[list[Any]]:
    """Yield a document, then all that it holds, then all that this holds, and so on."""
    level, depth = [data], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
        yield level
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
        level, depth = below, depth + 1


def _refuse_constant(name: str) -> None:
    raise ValueError(f"the number {name}")
