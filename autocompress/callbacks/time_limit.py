"""Ends a trial that runs for too long, between two batches or stages."""

import time

from autocompress.errors import TrialError
from autocompress.pipeline import State
from autocompress.trial import TrialCallback

TIME_LIMIT = "time limit"  # the stage of a trial that ran for too long


def too_long(limit_s: float) -> TrialError:
    """Return how a trial ends that ran for longer than so many seconds."""
    reason = f"it ran for more than {limit_s:g} s; study.trial_timeout sets another limit"
    return TrialError(TIME_LIMIT, reason)


class TimeLimit(TrialCallback):
    """Ends a trial after its time; what never comes to a next batch only its process can end.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.end = seconds, time.monotonic() + seconds

    def batch(self) -> None:
        """Look at the clock.

        Raises:
            TrialError: the time is up.
        """
        if time.monotonic() > self.end:
            raise too_long(self.seconds)

    def stage(self, state: State) -> None:
        """Look at the clock after each stage, for some have no batches."""
        self.batch()
