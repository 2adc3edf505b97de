"""Read study files, with overrides from the command line; write resolved ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from autocompress.config.places import Places, key_lines, place_of
from autocompress.config.reading import RENAMED, read_study
from autocompress.config.schema import StudyConfig
from autocompress.documents import MOST_TOML_BYTES, parse_toml, read_content
from autocompress.errors import ConfigurationError, RunError
from autocompress.space.dimensions import flat
from autocompress.space.parameters import path_of


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file.

    Args:
        path: a TOML file.
        overrides: ``"section.key=VALUE"``, which replace what the file says; the value is TOML,
            a bare word is a text.

    Raises:
        ConfigurationError: everything that is wrong, each with its line and what is allowed.
    """
    path = Path(path)
    text = _read(path)
    try:
        data = parse_toml(text)
    except ValueError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line.group(1)}" if line else str(path)
        raise ConfigurationError(f"{where}: not valid TOML: {error}") from error
    found: dict[tuple[str, ...], str] = {
        key: f"{path}:{n}: " for key, n in key_lines(text).items()
    }
    for override in overrides:
        key, value = _parse_override(override)
        _set(data, key, value)
        found = {k: place for k, place in found.items() if k[: len(key)] != key}
        found[key] = f"--set {override}: "
        for depth in range(1, len(key)):  # tables on the way that the file does not have
            found.setdefault(key[:depth], found[key])
    return study_from(data, places={(): f"{path}: ", **found})


def study_from(data: Mapping[str, Any], *, places: Places | None = None) -> StudyConfig:
    """Check the content of a study file, given as nested tables.

    Args:
        data: section to keys to values, as ``tomllib`` returns them.
        places: where each key was given, for error messages.

    Raises:
        ConfigurationError: everything that is wrong, all at once.
    """
    places = places or {}
    config, problems = read_study(data)
    if config is None:
        raise ConfigurationError(
            f"{place_of(path, places)}{'.'.join(path)}: {text}" for path, text in problems
        )
    return replace(config, places=places)


def to_toml(config: StudyConfig) -> str:
    """Return a study file in which every default is written out; ``load_study`` reads it back."""
    return tomli_w.dumps(config.to_dict())


def template() -> str:
    """Return a commented study file to start from."""
    return resources.files(__package__).joinpath("template.toml").read_text(encoding="utf-8")


def _read(path: Path) -> str:
    if not path.exists():
        raise ConfigurationError(
            f"{path}: no such file; `autocompress init` writes a study file to start from"
        )
    try:
        return read_content(path, MOST_TOML_BYTES).decode("utf-8-sig")
    except (RunError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as a study file: {error}") from error


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    name, equals, text = override.partition("=")
    key = tuple(part.strip() for part in name.split("."))
    if not equals or not all(key):
        raise ConfigurationError(f"--set {override}: expected section.key=VALUE")
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError as error:
        if re.fullmatch(r"\s*[\w.:/~+-][\w.:/~+ -]*", text):
            return key, text.strip()
        raise ConfigurationError(
            f"--set {override}: {text!r} is not a TOML value: {error}"
        ) from None
    if list(parsed) != ["value"]:
        raise ConfigurationError(f"--set {override}: expected a single value")
    return key, parsed["value"]


def _set(data: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    """Set a value in nested tables, in place; what is no table on the way is replaced by one.

    A key that has several names replaces what the file has under another one.
    """
    search = data.get("search")
    if key[0] == "search" and isinstance(search, dict):
        path = path_of(".".join(key[1:]))
        data["search"] = {n: v for n, v in flat(search).items() if path_of(n) != path}
    old = {new: name for name, new in RENAMED.items()}
    for other in (RENAMED.get(key[:1]), old.get(key[:1])):
        if other is not None and other[0] in data:
            key = (*other, *key[1:])
    for part in key[:-1]:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    data[key[-1]] = value
