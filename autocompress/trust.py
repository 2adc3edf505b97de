"""Whose code may be called: of a run or bundle that came from somewhere else, nobody's unasked.

Bundles and runs name functions of the user's by ``package.module:function``, with arguments, and
to call such a function is to do whatever it says. A run whose very functions this user has run is
trusted; that is noted outside of the run's folder, where no copy of a run can bring it along.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from autocompress.errors import ConfigurationError, UntrustedError

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_OURS = ("autocompress", "torchvision", "folder", "python")  # begin names that call nothing
_FILE = "trusted.json"


def state_folder() -> Path:
    """Return where what was run is noted: $AUTOCOMPRESS_STATE, or a folder of the user's."""
    chosen = os.environ.get("AUTOCOMPRESS_STATE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".local/state/autocompress"


def references(document: Any) -> tuple[str, ...]:
    """Return the functions and modules of the user's that a study or bundle names, in order.

    Args:
        document: nested tables, as ``tomllib`` or ``json`` return them.

    Example:
        >>> references({"model": {"factory": "mine:net"}, "study": {"plugins": ["more"]}})
        ('mine:net', 'more')
    """
    study = document.get("study") if isinstance(document, Mapping) else None
    plugins = study.get("plugins", ()) if isinstance(study, Mapping) else ()
    found = [*_names_in(document), *map(str, plugins if isinstance(plugins, list | tuple) else ())]
    return tuple(dict.fromkeys(found))


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if _REFERENCE.fullmatch(value) and value.partition(":")[0] not in _OURS:
            yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _names_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _names_in(entry)


def trust(study: Mapping[str, Any]) -> None:
    """Note that the user wants the functions that a study names to be called.

    Args:
        study: its file, as nested tables.
    """
    if not references(study):
        return
    path = state_folder() / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"):
        known = _known()
        mark = _mark(study)
        if mark not in known:
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            aside.write_text(json.dumps([*known, mark], indent=0), encoding="utf-8")
            aside.replace(path)


def require_trust(
    study: Mapping[str, Any], what: str, allow: Collection[str] = (), *, made_in: str = ""
) -> None:
    """Refuse to call functions of a study that this user has neither run nor allowed.

    Args:
        study: its file, as nested tables.
        what: names them, for the message: ``"runs/first"``.
        allow: packages or modules whose functions may be called.
        made_in: the folder that the study was started in, for messages.

    Raises:
        UntrustedError: there are such functions.
        ConfigurationError: a module is not found here.
    """
    names = references(study)
    missing = [name for name in names if not _file_of(name.partition(":")[0])]
    if missing:
        where = f"; it was started in {made_in}: call this there" if made_in else ""
        raise ConfigurationError(
            f"{what} names {', '.join(missing)}, but there is no such module in {Path.cwd()} or "
            f"in the installed packages{where}, or put its folder on PYTHONPATH"
        )
    foreign = not_allowed(names, allow)
    if foreign and _mark(study) not in _known():
        raise UntrustedError(what, foreign)


def not_allowed(names: Sequence[str], allow: Collection[str] = ()) -> tuple[str, ...]:
    """Return the references that no allowed package holds; Python's own library holds none.

    Args:
        names: ``"package.module:function"`` or ``"package.module"``.
        allow: packages or modules.
    """

    def is_allowed(name: str) -> bool:
        module = name.partition(":")[0]
        if module.partition(".")[0] in sys.stdlib_module_names:
            return False
        return any(f"{module}.".startswith(f"{known}.") for known in allow)

    return tuple(name for name in names if not is_allowed(name))


def _known() -> list[str]:
    try:
        found = json.loads((state_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(mark) for mark in found] if isinstance(found, list) else []


def _mark(study: Mapping[str, Any]) -> str:
    """Return a digest of what would be called: the names, their files, and all arguments."""
    names = references(study)
    called = {
        "names": names,
        "files": [_file_of(name.partition(":")[0]) for name in names],
        "tables": {name: table for name, table in study.items() if any(_names_in(table))},
    }
    text = json.dumps(called, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _file_of(module: str) -> str:
    """Return where a module's package would be imported from, without importing it."""
    top = module.partition(".")[0]
    here = importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd())])
    try:
        spec = here or importlib.util.find_spec(top)
    except ValueError:  # such as __main__
        spec = None
    if spec is None:
        return top if top in sys.modules else ""
    return str(spec.origin or list(spec.submodule_search_locations or ()))
