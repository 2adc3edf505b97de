"""The study's database: SQLite in the run's folder, safe against crashes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import optuna
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from autocompress.errors import RunError

DATABASE = "study.db"
_BUSY_TIMEOUT_S = 60


def _pragmas(connection: Any, _: Any) -> None:
    """Write-ahead log: readers never block the writer, and a kill leaves a whole database."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def open_storage(folder: Path) -> optuna.storages.RDBStorage:
    """Open (or create) the database of a run.

    Raises:
        RunError: the file is there but is not an Optuna database.
    """
    path = folder / DATABASE
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve()}",
            engine_kwargs={"connect_args": {"timeout": _BUSY_TIMEOUT_S}},
        )
    except (SQLAlchemyError, RuntimeError) as error:
        raise RunError(f"{path} is not a study's database, or is damaged: {error}") from error
    sqlalchemy.event.listen(storage.engine, "connect", _pragmas)
    return storage


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the run: two processes must not run trials of one run at the same time.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
        RunError: another process is running this run.
    """
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunError(
            f"{folder} is being run by another process; wait for it or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()
