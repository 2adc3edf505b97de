"""Functions that a user names as ``package.module:function``: found, imported and called."""

import importlib
import itertools
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from autocompress.errors import AutocompressError, ConfigurationError
from autocompress.registry import did_you_mean


@contextmanager
def _working_directory_first() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error, from its first frame that is not ours."""
    trace = traceback.TracebackException.from_exception(error)
    theirs = itertools.dropwhile(lambda frame: _is_ours(frame.filename), trace.stack)
    trace.stack = traceback.StackSummary.from_list(list(theirs))
    return "".join(trace.format()).rstrip()


def _is_ours(filename: str) -> bool:
    importer = filename == importlib.__file__ or filename.startswith("<frozen importlib")
    return importer or Path(filename).is_relative_to(Path(__file__).parent)


def _import_module(name: str, reference: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed_import(name, reference, kind, error) from error
        raise ConfigurationError(
            f"{kind} {reference!r}: no module named {error.name!r}; looked in the current folder "
            f"{Path.cwd()} and in the installed packages"
        ) from error
    except AutocompressError:
        raise
    except Exception as error:
        raise _failed_import(name, reference, kind, error) from error


def _failed_import(name: str, reference: str, kind: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{kind} {reference!r}: importing {name!r} failed:\n{user_traceback(error)}"
    )


def find_object(reference: str, kind: str) -> Any:
    """Import a user's object, with the current working directory importable.

    Args:
        reference: ``"package.module:name"``.
        kind: what it is, for messages: ``"metric"``.

    Raises:
        ConfigurationError: the reference is malformed, the module does not exist or fails to
            import, with the user's own traceback, or there is no such name in it.
    """
    return _found(reference, kind, "name", lambda _: True)


def find_function(reference: str, kind: str) -> Callable[..., Any]:
    """Import a user's function, as ``find_object`` does.

    Args:
        reference: ``"package.module:function"``.
        kind: what the function makes, for messages: ``"model"`` or ``"data set"``.

    Raises:
        ConfigurationError: as ``find_object``, or it is no function.
    """
    found: Callable[..., Any] = _found(reference, kind, "function", callable)
    return found


def _found(reference: str, kind: str, noun: str, fits: Callable[[Any], bool]) -> Any:
    module_name, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ConfigurationError(
            f"{kind} {reference!r}: expected 'package.module:{noun}', both Python names"
        )
    with _working_directory_first():
        importlib.invalidate_caches()
        module = _import_module(module_name, reference, kind)
    known = {n: v for n, v in vars(module).items() if fits(v) and _is_offered(n, v)}
    if not fits(getattr(module, name, None)) or not hasattr(module, name):
        raise ConfigurationError(
            f"{kind} {reference!r}: {module_name!r} ({getattr(module, '__file__', None)}) has "
            f"no {noun} {name!r}{did_you_mean(name, known)}; it has: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return getattr(module, name)


def _is_offered(name: str, value: Any) -> bool:
    return not name.startswith("_") and not isinstance(value, ModuleType)


def import_plugins(names: Iterable[str]) -> None:
    """Import modules that register what a study names: stages, criteria, metrics, targets.

    Args:
        names: of modules; the current working directory is importable.

    Raises:
        ConfigurationError: modules do not exist or fail to import, with the user's own traceback;
            all of them are named.
    """
    problems: list[str] = []
    with _working_directory_first():
        importlib.invalidate_caches()
        for name in names:
            try:
                _import_module(name, name, "plugin")
            except ConfigurationError as error:
                problems += error.problems
    if problems:
        raise ConfigurationError(problems)


def call_function(
    reference: str, kind: str, arguments: Callable[[Callable[..., Any]], dict[str, Any]]
) -> Any:
    """Import and call a user's function, with the current working directory importable.

    Args:
        reference: ``"package.module:function"``.
        kind: what the function makes, for messages: ``"model"`` or ``"data set"``.
        arguments: receives the function and returns the keyword arguments to call it with.

    Raises:
        ConfigurationError: the reference is malformed, the module does not exist or fails to
            import, the function does not exist, or it raises; with the user's own traceback.
    """
    function = find_function(reference, kind)
    with _working_directory_first():
        try:
            return function(**arguments(function))
        except AutocompressError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{kind} {reference!r}: calling {function.__name__} failed:\n"
                f"{user_traceback(error)}"
            ) from error
