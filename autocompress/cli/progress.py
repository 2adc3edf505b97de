"""Progress of a command: a live bar in a terminal, one plain line per trial elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from autocompress.events import Progress
from autocompress.printing import ProgressPrinter


@contextmanager
def progress_on(stream: TextIO | None = None) -> Iterator[Progress]:
    """Show events on a stream, by default standard error; in a terminal beside a live bar."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield ProgressPrinter(stream)
        return
    from autocompress.cli.live import live_bar

    with live_bar(stream) as progress:
        yield progress
