"""Every error that autocompress raises on purpose: what was expected, and what came."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
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
    """A run or bundle is missing, foreign or damaged, or does not match what is asked of it."""


class UntrustedError(UsageError):
    """A run or bundle from elsewhere names code that would be called.

    Attributes:
        what: the run or bundle.
        names: the functions or modules.
    """

    def __init__(self, what: str, names: Sequence[str], way: str = "") -> None:
        self.what, self.names = what, tuple(names)
        packages = list(dict.fromkeys(name.partition(":")[0].partition(".")[0] for name in names))
        options = " ".join(f"--allow {package}" for package in packages)
        super().__init__(
            f"{what} names {', '.join(names)} to be called, which you have neither run nor "
            f"allowed, and which could do anything. Look at the code; then allow it: {options}, "
            f"in Python allow={packages}{way}"
        )


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
        self.reason = reason.strip() or f"{type(self).__name__}, without a reason"
        super().__init__(f"{stage}: {self.reason}")


class DeviceLostError(TrialError):
    """A trial broke the GPU's state: nothing runs there any more until the process is replaced."""


class DiskFullError(TrialError):
    """A trial could not be written: nothing else can be either, until there is room."""


class DivergedError(AutocompressError):
    """A loss or score of a training run became infinite or NaN."""


@contextmanager
def about(key: str) -> Iterator[None]:
    """Begin what is wrong inside with the key or argument that it is about: ``"data.source"``.

    What names a key of the same section already is left as it is.
    """
    try:
        yield
    except ConfigurationError as error:
        section = key.partition(".")[0]
        lines = [
            problem if problem.startswith((f"{section}.", f"{section}:")) else f"{key}: {problem}"
            for problem in error.problems
        ]
        raise ConfigurationError(lines) from error.__cause__


@contextmanager
def failing_as(stage: str, what: str = "") -> Iterator[None]:
    """Turn whatever goes wrong inside into a ``TrialError`` of this stage: it fails alone.

    Args:
        stage: of a trial.
        what: fails, for the reason, where the stage does not say it.

    What makes the GPU unusable for this process, such as an illegal access or a device-side
    assert, becomes a ``DeviceLostError``; a full disk becomes a ``DiskFullError``. Code that asks
    the process to exit only ends the trial.
    """
    try:
        yield
    except TrialError:
        raise
    except (Exception, SystemExit) as error:
        kind: type[TrialError] = TrialError
        if _loses_device(error):
            kind = DeviceLostError
        elif _fills_disk(error):
            kind = DiskFullError
        reason = in_one_line(error)
        raise kind(stage, f"{what}: {reason}" if what else reason) from error


def _loses_device(error: BaseException | None) -> bool:
    """Return whether PyTorch's error about a broken GPU is, or led to, an error."""
    from torch import AcceleratorError  # here, for the commands that do without PyTorch

    while error is not None and not isinstance(error, AcceleratorError):
        error = error.__cause__
    return error is not None and not _is_out_of_memory(error)


def _fills_disk(error: BaseException | None) -> bool:
    """Return whether a full disk is, or led to, an error; some libraries only say so in words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in _text_of(error):
            return True
        error = error.__cause__
    return False


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in _text_of(error).lower()


def in_one_line(error: BaseException) -> str:
    """Return what happened, as any terminal can show it; of an error not ours, with its kind."""
    text, kind = _text_of(error), type(error).__name__
    if _fills_disk(error):
        return f"the disk is full: {text or kind}"
    if _is_out_of_memory(error):
        return f"out of memory: {text}".rstrip(": ")
    if text and isinstance(error, AutocompressError):
        return text
    return f"{kind}: {text}" if text else kind


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 (an exception of the user's may have a faulty text)
        text = f"its text cannot be made ({type(broken).__name__})"
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())
