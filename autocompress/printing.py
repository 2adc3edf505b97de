"""What a search reports, as plain lines of text: for scripts, logs and notebooks."""

import sys
from collections.abc import Sequence
from typing import TextIO

from autocompress.events import (
    BaselineReady,
    EpochDone,
    Event,
    FinalEvaluation,
    Finished,
    Message,
    Started,
    TrialDone,
)
from autocompress.metrics import Metric
from autocompress.metrics.formatting import (
    duration,
    format_change,
    format_value,
    in_one_line,
    short_title,
)
from autocompress.results import Estimates


class ProgressPrinter:
    """Prints one line for each event of a search: an argument for ``progress``.

    Args:
        stream: by default standard error as it is at each line, so that a notebook shows it.

    Example:
        >>> import sys
        >>> progress = progress_printer(sys.stdout)
        >>> progress(Message("training the baseline"))
        training the baseline
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lines = Lines()

    def __call__(self, event: Event) -> None:
        """Print what an event is worth."""
        line = self._lines.line(event)
        if line is not None:
            stream = sys.stderr if self._stream is None else self._stream
            stream.write(line + "\n")
            stream.flush()


def progress_printer(stream: TextIO | None = None) -> ProgressPrinter:
    """Return an argument for ``progress``: it prints one plain line per trial.

    Args:
        stream: by default standard error.
    """
    return ProgressPrinter(stream)


class Lines:
    """Turns events into lines; what the objectives are is known from the event that starts all."""

    def __init__(self) -> None:
        self.objectives: Sequence[Metric] = ()
        self.baseline: Estimates = {}

    def line(self, event: Event) -> str | None:
        """Return the one line that an event is worth; ``None`` for an epoch."""
        match event:
            case Started():
                self.objectives = event.objectives
                return _started(event)
            case Message():
                return event.text
            case BaselineReady():
                self.baseline = event.metrics
                return f"baseline: {self.numbers(event.metrics)}"
            case TrialDone():
                return self._trial(event)
            case FinalEvaluation():
                return f"final evaluation: {event.done} of {event.total}"
            case Finished():
                return f"done: {len(event.front['front'])} on the front, in {event.folder}"
            case EpochDone():
                return None

    def _trial(self, event: TrialDone) -> str:
        if event.state == "complete":
            result = self.numbers(event.metrics)
        else:
            result = in_one_line(event.reason)
        how = event.state if event.parent is None else f"derived from {event.parent}"
        left = f"  ({self.left(event)})" if event.done else ""
        return f"[{event.done}/{event.total}] trial {event.number} {how}: {result}{left}"

    def left(self, event: TrialDone) -> str:
        """Return how long it will take, and what the balanced pick is by now."""
        best = f"; balanced so far {self.numbers(event.best, short=True)}" if event.best else ""
        return f"ETA {duration(event.eta_s)}{best}"

    def numbers(self, found: Estimates, *, short: bool = False) -> str:
        """Return the objectives of a model in words, beside the baseline's where they are known.

        Args:
            found: what is known of it.
            short: give ratios without the values.
        """
        parts = []
        for metric in self.objectives:
            value, baseline = found.get(metric.name), self.baseline.get(metric.name)
            text = format_value(metric, value)
            if metric.comparison == "ratio" and value and baseline and value is not baseline:
                change = format_change(metric, value, baseline)
                text = change if short else f"{text} ({change})"
            parts.append(f"{short_title(metric)} {text}")
        return ", ".join(parts)


def _started(event: Started) -> str:
    if event.done:
        wanted = "" if event.trials is None else f" of {event.trials}"
        return f"{event.name}: {event.done}{wanted} trials done, in {event.folder}"
    wanted = "as many trials as fit" if event.trials is None else f"{event.trials} trials"
    return f"{event.name}: {wanted}, into {event.folder}"
