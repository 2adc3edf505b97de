"""From timed blocks to a latency with an interval: plain numbers, no clock and no model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

DROPPED = 2  # first calls of a block, which find the other model's data in the caches
CONFIDENCE = 0.95
Statistic = Literal["median", "cpu", "p10"]


class Calls(NamedTuple):
    """Consecutive calls of one model, as they were timed.

    Attributes:
        durations_ms: of each call.
        contention: fraction of the time in which the calling thread wanted to run but did not,
            in [0, 1]: 1 - CPU time / wall time.
        cpu_ms: CPU time of each call; None where that is not the whole work of the call: other
            threads or a GPU worked too.
    """

    durations_ms: Sequence[float]
    contention: float
    cpu_ms: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive calls of one model, summarised.

    Attributes:
        samples_ms: duration of each call in milliseconds, without the first two.
        contention: of the block, as in :class:`Calls`.
        median_ms: median of the samples.
        p10_ms: their 10th percentile.
        cpu_ms: median of the CPU times, without the first two; None where there are none.
    """

    samples_ms: tuple[float, ...]
    contention: float
    median_ms: float
    p10_ms: float
    cpu_ms: float | None

    @classmethod
    def of_calls(cls, calls: Calls) -> "Block":
        """Summarise the calls of a block, all of them: at least three."""
        samples = tuple(calls.durations_ms[DROPPED:])
        p10, median = np.percentile(samples, [10, 50])
        cpu = None if calls.cpu_ms is None else float(np.median(calls.cpu_ms[DROPPED:]))
        return cls(samples, calls.contention, float(median), float(p10), cpu)

    def value_ms(self, statistic: Statistic) -> float:
        """Return the block's median, its median CPU time, or its 10th percentile.

        Raises:
            ValueError: the CPU time is wanted and is not known.
        """
        value = {"median": self.median_ms, "cpu": self.cpu_ms, "p10": self.p10_ms}[statistic]
        if value is None:
            raise ValueError("the CPU time of these calls is not known")
        return value


@dataclass(frozen=True, slots=True)
class Interval:
    """A positive quantity and its 95 % confidence interval.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Half the interval's length, as a fraction of the value."""
        return (self.high - self.low) / 2 / self.value


def geometric_interval(values: Sequence[float]) -> Interval:
    """Return the geometric mean and its interval: Student's t on the logarithms.

    Ratios of durations are close to log-normal, and the logarithm makes the interval of
    baseline / candidate the inverse of that of candidate / baseline.

    Args:
        values: positive; with fewer than two the interval is (0, inf).
    """
    logs = np.log(np.asarray(values, dtype=np.float64))
    mean = float(logs.mean())
    if len(logs) < 2:
        return Interval(math.exp(mean), 0.0, math.inf)
    quantile = float(stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def ratio_interval(
    baseline: Sequence[Block], candidate: Sequence[Block], statistic: Statistic
) -> Interval:
    """Return candidate / baseline with its interval, from blocks paired in time."""
    return geometric_interval(
        [
            second.value_ms(statistic) / first.value_ms(statistic)
            for first, second in zip(baseline, candidate, strict=True)
        ]
    )


def percentiles_ms(blocks: Sequence[Block]) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentile of all samples."""
    samples = [sample for block in blocks for sample in block.samples_ms]
    p10, p50, p90 = np.percentile(samples, [10, 50, 90])
    return float(p10), float(p50), float(p90)
