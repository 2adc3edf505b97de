"""One process at a time runs the trials of a run: a lock that ends with the process."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from autocompress.errors import RunError

LOCK = ".lock"
_WAIT_S = 1.0  # longer than ``is_being_run`` holds the lock
_READER_S = 0.01


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the run: two processes must not run trials of one run at the same time.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        RunError: another process is running this run.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_WAIT_S)
    except filelock.Timeout:
        raise RunError(
            f"{folder} is being run by another process; wait for it or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_being_run(folder: Path) -> bool:
    """Return whether a process is running trials of a run, on this machine."""
    if not (folder / LOCK).exists():
        return False
    try:
        # Another reader holds the lock for less than that.
        with filelock.FileLock(folder / LOCK, timeout=_READER_S, poll_interval=_READER_S / 5):
            return False
    except filelock.Timeout:
        return True
    except OSError as error:  # of another user, whose run it is; or nobody can write there
        return error.errno != errno.EROFS
