"""Ends a trial that runs for too long, between two batches."""

import time

from torch import nn

from autocompress.errors import TrialError
from autocompress.results import EpochRecord
from autocompress.training.fitting import Monitor


def too_long(limit_s: float) -> TrialError:
    """Return how a trial ends that ran for longer than so many seconds."""
    reason = f"it ran for more than {limit_s:g} s; study.trial_timeout sets another limit"
    return TrialError("time limit", reason)


class TimeLimit(Monitor):
    """Ends a trial after its time; what never comes to a next batch only its process can end.

    Args:
        monitor: receives everything too.
        seconds: from now.
    """

    def __init__(self, monitor: Monitor, seconds: float) -> None:
        self.monitor, self.seconds = monitor, seconds
        self.end = time.monotonic() + seconds

    def batch(self) -> None:
        """Look at the clock.

        Raises:
            TrialError: the time is up.
        """
        self.monitor.batch()
        if time.monotonic() > self.end:
            raise too_long(self.seconds)

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Pass it on."""
        self.monitor.epoch(record, model)
