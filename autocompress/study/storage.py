"""The study's database: SQLite in the run's folder, safe against crashes."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import optuna
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from autocompress.errors import AutocompressError, RunError

DATABASE, LOCK = "study.db", ".lock"
_BUSY_TIMEOUT_S = 60
_LOOK_S = 1.0  # longer than ``is_being_run`` holds the lock


def _sync_at_checkpoints(connection: Any, _: Any) -> None:
    """Sync to disk at checkpoints: with a write-ahead log that is safe against crashes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def open_storage(folder: Path) -> optuna.storages.RDBStorage:
    """Open (or create) the database of a run.

    Raises:
        RunError: the file is there but is not an Optuna database.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we tell what there is to tell
    path = folder / DATABASE
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
            # Readers never block the writer, and a kill leaves a whole database.
            connection.execute("PRAGMA journal_mode=WAL")
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}",
            engine_kwargs={"connect_args": {"timeout": _BUSY_TIMEOUT_S}},
        )
    except (sqlite3.DatabaseError, SQLAlchemyError, RuntimeError) as error:
        raise RunError(f"{path} is not a study's database, or is damaged: {error}") from error
    sqlalchemy.event.listen(storage.engine, "connect", _sync_at_checkpoints)
    return storage


@contextmanager
def telling_of_full_disks(folder: Path) -> Iterator[None]:
    """Turn what the database says when it cannot be written into a message with a way out.

    Raises:
        AutocompressError: the database could not be written.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise AutocompressError(
            f"{folder / DATABASE} could not be written ({error}); nothing that was finished is "
            f"lost: make room, then go on by `autocompress resume {folder}`"
        ) from error


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the run: two processes must not run trials of one run at the same time.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        RunError: another process is running this run.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_LOOK_S)
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
        with filelock.FileLock(folder / LOCK, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # of another user, whose run it is
        return True
