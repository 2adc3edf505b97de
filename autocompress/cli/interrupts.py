"""Ctrl-C while a study runs: the first ends it cleanly, the second at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code


@contextmanager
def stop_cleanly_first() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at the first Ctrl-C; leave the process at the second."""
    pressed = False

    def on_interrupt(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            os._exit(INTERRUPTED)
        pressed = True
        sys.stderr.write("\nstopping and saving; press Ctrl-C again to leave at once\n")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
