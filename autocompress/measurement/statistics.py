"""From timed blocks to a latency with an interval: plain numbers, no clock and no model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

DROPPED = 2  # first calls of a block, which find the other model's data in the caches
CONFIDENCE = 0.95
Statistic = Literal["median", "p10"]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive calls of one model.

    Attributes:
        samples_ms: duration of each call in milliseconds, without the first two.
        contention: fraction of the block's time in which the calling thread wanted to run but
            did not, in [0, 1]: 1 - CPU time / wall time.
        median_ms: median of the samples.
        p10_ms: their 10th percentile.
    """

    samples_ms: tuple[float, ...]
    contention: float
    median_ms: float
    p10_ms: float

    @classmethod
    def of_calls(cls, durations_ms: Sequence[float], contention: float) -> "Block":
        """Summarise the calls of a block, all of them: at least three."""
        samples = tuple(durations_ms[DROPPED:])
        p10, median = np.percentile(samples, [10, 50])
        return cls(samples, contention, float(median), float(p10))

    def value_ms(self, statistic: Statistic) -> float:
        """Return the block's median, or its 10th percentile."""
        return self.median_ms if statistic == "median" else self.p10_ms


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
