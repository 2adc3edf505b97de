"""How much to run, and what fits into the time: planned from what finished trials cost."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autocompress.errors import ConfigurationError

UNLIMITED = 1_000_000  # trials, where only the time is limited
PLANNING_TRIALS = 2  # complete ones, before their cost is believed
WORTHWHILE_TRIALS = 24  # eight initial recipes, and twice as many that the sampler proposes
LIMIT = 10  # times what the slowest complete trial took, a trial may take
LEAST_LIMIT_S = 600.0
FIRST_LIMIT_S = 86_400.0  # while no trial is complete


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much to run.

    Attributes:
        trials: in all, those of earlier sessions included; ``None``: as many as the study says,
            or as fit into ``timeout_s``.
        timeout_s: seconds after which none starts.
        workers: processes that run trials at the same time.
    """

    trials: int | None = None
    timeout_s: float | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigurationError(f"workers: expected at least 1, not {self.workers}")


def trial_limit_s(asked: float | None, complete_s: Sequence[float], workers: int) -> float:
    """Return the seconds after which a trial has failed.

    Args:
        asked: what the study says, which counts alone.
        complete_s: seconds that each complete trial took.
        workers: processes that run trials at the same time: they share the machine, which the
            trials of an earlier session may have had alone.
    """
    if asked is not None:
        return asked
    if not complete_s:
        return FIRST_LIMIT_S
    return max(LEAST_LIMIT_S, LIMIT * workers * max(complete_s))


class Budget:
    """What is left of a session's trials and time.

    Args:
        trials: in all; ``None`` where only the time is limited.
        timeout_s: of this session.
        workers: processes that run trials at the same time.
        done: trials that had ended before.
        clock: seconds from any origin; injected in tests.
    """

    def __init__(
        self,
        trials: int | None,
        timeout_s: float | None,
        workers: int,
        done: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trials = UNLIMITED if trials is None else trials
        self.timeout_s, self.workers, self.before, self.clock = timeout_s, workers, done, clock
        self.start = clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the session began."""
        return self.clock() - self.start

    @property
    def left_s(self) -> float | None:
        """Seconds until no new trial starts; ``None`` without a timeout."""
        return None if self.timeout_s is None else max(0.0, self.timeout_s - self.elapsed_s)

    def plan(self, done: int) -> tuple[int, float]:
        """Return the expected number of trials in all, and the seconds until the last one ends.

        Both follow from the mean cost of the trials of this session, short and long ones.

        Args:
            done: trials that have ended, at least one of them in this session.
        """
        each_s = self.elapsed_s / (done - self.before)
        wanted = self.trials - done
        if self.left_s is not None:
            wanted = min(wanted, round(self.left_s / each_s))
        return done + wanted, wanted * each_s

    def fidelity(self, trial_s: Sequence[float]) -> float | None:
        """Return the fraction of the epochs at which enough trials fit into the time.

        Args:
            trial_s: seconds that each trained trial took, those of earlier sessions included.

        Returns:
            1.0 where enough fit as it is, ``None`` while the cost is not known.
        """
        if self.left_s is None:
            return 1.0
        if len(trial_s) < PLANNING_TRIALS:
            return None
        fitting = self.left_s * self.workers / statistics.fmean(trial_s)
        wanted = max(1, min(WORTHWHILE_TRIALS, self.trials) - len(trial_s))
        return min(1.0, fitting / wanted)
