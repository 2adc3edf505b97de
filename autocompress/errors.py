"""Every error that autocompress raises on purpose: what was expected, and what came."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AutocompressError(Exception):
    """The root of the tree: catch this to catch all of them."""


class UsageError(AutocompressError):
    """The caller asked for something that does not exist or does not fit (exit code 2)."""


class ConfigurationError(UsageError):
    """A study file, setting, model or data set is wrong.

    Attributes:
        problems: one readable line for each thing that is wrong, all of them at once.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class RunError(UsageError):
    """A run folder is missing, foreign or corrupt, or does not match what is asked of it."""


class VerificationError(AutocompressError):
    """A step that promises equal outputs gave different ones."""


class TrialError(AutocompressError):
    """One trial failed; the study goes on.

    Attributes:
        stage: the stage that failed, such as ``"prune"``.
        reason: what happened, in one line.
    """

    def __init__(self, stage: str, reason: str) -> None:
        self.stage = stage
        self.reason = reason
        super().__init__(f"{stage}: {reason}")


class DivergedError(AutocompressError):
    """The training loss became infinite or NaN."""


@contextmanager
def failing_as(stage: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into a ``TrialError`` of this stage: it fails alone."""
    try:
        yield
    except TrialError:
        raise
    except Exception as error:
        raise TrialError(stage, _in_one_line(error)) from error


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full: {error}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"out of memory: {text}".rstrip(": ")
    return text if isinstance(error, AutocompressError) else f"{type(error).__name__}: {text}"
