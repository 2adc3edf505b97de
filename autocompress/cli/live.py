"""A live bar in a terminal; what ended scrolls past above it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from autocompress.events import EpochDone, Event, FinalEvaluation, Progress, Started, TrialDone
from autocompress.printing import Lines


@contextmanager
def live_bar(stream: TextIO) -> Iterator[Progress]:
    """Show events on a terminal while the block runs."""
    bar = Bar(
        TextColumn("{task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[more]}"),
        console=Console(file=stream),
        transient=True,
    )
    with bar:
        yield _Live(bar)


class _Live:
    def __init__(self, bar: Bar) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=None, what="starting", more="")
        self.lines = Lines()

    def __call__(self, event: Event) -> None:
        line = self.lines.line(event)
        if line is not None:
            self.bar.console.print(escape(line), highlight=False, soft_wrap=True)
        match event:
            case Started():
                self.bar.update(self.task, total=event.trials, completed=event.done, what="trials")
            case EpochDone():
                what = f"{event.stage}, epoch {event.epoch} of {event.epochs}"
                self.bar.update(self.task, what=what)
            case TrialDone():
                self.bar.update(
                    self.task,
                    completed=event.done,
                    total=event.total,
                    what="trials",
                    more=self.lines.left(event),
                )
            case FinalEvaluation():
                what = f"final evaluation, {event.done} of {event.total}"
                self.bar.update(self.task, what=what, more="")
