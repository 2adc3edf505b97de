"""Where each key of a TOML file stands: ``tomllib`` reads values but not their lines."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, on which each key of a valid TOML text is first set.

    A statement (a table header, or a key with its value) ends at the first line end where what
    was read so far is valid by itself.
    """
    lines: dict[Path, int] = {}
    header: Path = ()
    for number, statement in _statements(text):
        parsed = tomllib.loads(statement)
        paths = list(_paths(parsed))
        if statement.lstrip().startswith("["):
            header = paths[-1] if paths else header
            paths = [header[:depth] for depth in range(1, len(header) + 1)]
        else:
            paths = [header + path for path in paths]
        for path in paths:
            lines.setdefault(path, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    start, pending = 1, ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        start = start if pending else number
        pending += line
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        yield start, pending
        pending = ""


def _paths(parsed: Any) -> Iterator[Path]:
    if isinstance(parsed, list) and parsed and isinstance(parsed[-1], Mapping):
        parsed = parsed[-1]
    if isinstance(parsed, Mapping):
        for key, value in parsed.items():
            yield (key,)
            yield from ((key, *path) for path in _paths(value))
