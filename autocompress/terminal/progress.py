"""Progress on standard error: a live bar in a terminal, one plain line per trial elsewhere."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autocompress.events import (
    BaselineReady,
    EpochDone,
    Event,
    Finished,
    LastWord,
    Message,
    Started,
    TrialDone,
)
from autocompress.wording import count, duration, in_one_line, milliseconds, percent, ratio

Listener = Callable[[Event], None]


@contextmanager
def progress_on(stream: TextIO | None = None) -> Iterator[Listener]:
    """Give a listener that shows events on a stream (standard error) while the block runs."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():

        def write(event: Event) -> None:
            line = line_of(event)
            if line is not None:
                stream.write(line + "\n")
                stream.flush()

        yield write
        return
    bar = Progress(
        TextColumn("{task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[more]}"),
        console=Console(file=stream),
        transient=True,
    )
    with bar:
        yield _LiveBar(bar)


class _LiveBar:
    """Shows events on a live bar; finished trials scroll past above it."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=None, what="starting", more="")

    def __call__(self, event: Event) -> None:
        line = line_of(event)
        if line is not None:
            self.bar.console.print(escape(line), highlight=False, soft_wrap=True)
        match event:
            case Started():
                self.bar.update(self.task, total=event.trials, completed=event.done, what="trials")
            case EpochDone():
                what = f"{event.stage}, epoch {event.epoch} of {event.epochs}"
                self.bar.update(self.task, what=what)
            case TrialDone():
                more = f"ETA {duration(event.eta_s)}{_best(event)}"
                self.bar.update(self.task, completed=event.done, total=event.total, more=more)
            case LastWord():
                what = f"last word, {event.done} of {event.total}"
                self.bar.update(self.task, what=what, more="")


def line_of(event: Event) -> str | None:
    """Return the one line that an event is worth; ``None`` for an epoch."""
    match event:
        case Started(done=0):
            wanted = "as many trials as fit" if event.trials is None else f"{event.trials} trials"
            return f"{event.name}: {wanted}, into {event.folder}"
        case Started():
            wanted = "" if event.trials is None else f" of {event.trials}"
            return f"{event.name}: {event.done}{wanted} trials done, in {event.folder}"
        case Message():
            return event.text
        case BaselineReady():
            return f"baseline: {_numbers(event.metrics)}"
        case TrialDone():
            told = (
                _numbers(event.metrics) if event.state == "complete" else in_one_line(event.reason)
            )
            left = f"  (ETA {duration(event.eta_s)}{_best(event)})" if event.done else ""
            how = event.state
            if event.harvested_from is not None:
                how = f"harvested from {event.harvested_from}"
            return f"[{event.done}/{event.total}] trial {event.number} {how}: {told}{left}"
        case LastWord():
            return f"last word: {event.done} of {event.total} measured again"
        case Finished():
            return f"done: {len(event.front['front'])} on the front, in {event.folder}"
        case EpochDone():
            return None


def _numbers(metrics: Mapping[str, Any]) -> str:
    latency = milliseconds(metrics.get("latency_ms")) + _times(metrics.get("latency_ratio"))
    parameters = count(metrics.get("parameters")) + _times(metrics.get("parameter_ratio"))
    accuracy = percent(metrics.get("accuracy"))
    return f"accuracy {accuracy}, latency {latency}, parameters {parameters}"


def _times(value: float | None) -> str:
    return "" if value is None or value == 1 else f" ({ratio(value)})"


def _best(event: TrialDone) -> str:
    if not event.best:
        return ""
    best = event.best
    return (
        f"; best so far {percent(best.get('accuracy'))}, "
        f"{ratio(best.get('latency_ratio'))} latency, "
        f"{ratio(best.get('parameter_ratio'))} parameters"
    )
