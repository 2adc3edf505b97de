"""Where each key of a study was given: its line in the TOML file, or on the command line."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autocompress.errors import ConfigurationError

Path = tuple[str, ...]
Places = Mapping[Path, str]
"""What messages begin with, by the path of a key: ``"study.toml:7: "``; of ``()`` the file's."""


def place_of(key: Path, places: Places) -> str:
    """Return where a key was given, or else the table that it would stand in."""
    plain = tuple(".".join(key).split("."))  # TOML reads a dotted name as tables
    written = next((path for path in (key, plain) if path[:2] in places), key)
    while written and written not in places:
        written = written[:-1]
    return places.get(written, "")


@contextmanager
def located(places: Places) -> Iterator[None]:
    """Begin what is wrong with a key, ``"section.key: ..."``, with the place of the key."""
    try:
        yield
    except ConfigurationError as error:
        lines = [_with_place(problem, places) for problem in error.problems]
        raise ConfigurationError(lines) from error.__cause__


def _with_place(problem: str, places: Places) -> str:
    key = tuple(problem.partition(": ")[0].split("."))
    return f"{place_of(key, places)}{problem}" if (key[0],) in places else problem


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, on which each key of a valid TOML text is first set.

    ``tomllib`` reads values, but not their lines.

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
