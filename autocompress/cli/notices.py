"""What the package logs, as a user of the command line should see it: each message once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer


class _Once(logging.Handler):
    """Prints a message to stderr when it comes for the first time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.written: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.written:
            self.written.add(text)
            typer.echo(text, err=True)


@contextmanager
def notices_once() -> Iterator[None]:
    """Print what the package logs inside; models are built many times, with the same remarks."""
    logger, handler = logging.getLogger("autocompress"), _Once()
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
