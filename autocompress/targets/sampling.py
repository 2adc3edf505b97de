"""When to call which model how often: warm-up, alternating blocks, and when to stop."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from autocompress.errors import ConfigurationError
from autocompress.targets.statistics import (
    DROPPED,
    Block,
    Calls,
    Interval,
    Statistic,
    geometric_interval,
    ratio_interval,
)

TimedCalls = Callable[[int], Calls]
"""Makes n calls of one model and times them."""

Clock = Callable[[], float]
"""Returns seconds from any origin."""

BLOCK_CALLS = 25  # of a block; fewer are mostly cold caches, more let the machine drift
LEAST_BLOCK_CALLS = DROPPED + 3
LEAST_BLOCK_MS = 5.0  # shorter blocks get more calls: the clock and one interruption weigh less
LEAST_PAIRS = 5  # before an interval is believed
WARM_UP_CALLS = 10  # compared with the ten before
WARM_UP_TOLERANCE = 0.05
WARM_UP_SHARE = 0.2  # of the budget, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """When enough has been measured.

    Attributes:
        budget_s: seconds for one measurement; at least two pairs of blocks are always taken.
        width: half the 95 % interval, as a fraction of the value, that is narrow enough.
        contention: fraction of time lost to other processes, in [0, 1], up to which a block
            counts as quiet.

    Raises:
        ConfigurationError: settings are out of range; all of them are named.
    """

    budget_s: float = 5.0
    width: float = 0.02
    contention: float = 0.1

    def __post_init__(self) -> None:
        checks = {
            f"budget_s: expected more than 0, not {self.budget_s}": self.budget_s > 0,
            f"width: expected more than 0, not {self.width}": self.width > 0,
            f"contention: expected 0 to 1, not {self.contention}": 0 <= self.contention <= 1,
        }
        problems = [problem for problem, passed in checks.items() if not passed]
        if problems:
            raise ConfigurationError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What sampling found.

    Attributes:
        baseline: blocks that count; empty where there was no baseline.
        candidate: blocks that count, paired with the baseline's.
        interval: of candidate / baseline, or of the candidate in ms without a baseline.
        statistic: of each block.
        contention: mean over the blocks that count.
        flag: why the numbers should be read with care; None: they are quiet and narrow.
    """

    baseline: tuple[Block, ...]
    candidate: tuple[Block, ...]
    interval: Interval
    statistic: Statistic
    contention: float
    flag: str | None


@dataclass(slots=True)
class _Taken:
    """Blocks so far, in pairs."""

    baseline: list[Block] = field(default_factory=list)
    candidate: list[Block] = field(default_factory=list)

    def contentions(self) -> list[float]:
        first = self.baseline or self.candidate
        return [
            max(a.contention, b.contention) for a, b in zip(first, self.candidate, strict=True)
        ]

    def quiet(self, limit: float) -> "_Taken":
        """Return the pairs in which nothing disturbed either block."""
        kept = [index for index, value in enumerate(self.contentions()) if value <= limit]
        return _Taken(
            [self.baseline[i] for i in kept] if self.baseline else [],
            [self.candidate[i] for i in kept],
        )

    def interval(self, statistic: Statistic) -> Interval:
        if self.baseline:
            return ratio_interval(self.baseline, self.candidate, statistic)
        return geometric_interval([block.value_ms(statistic) for block in self.candidate])


def sample(
    candidate: TimedCalls,
    effort: Effort,
    *,
    baseline: TimedCalls | None = None,
    clock: Clock = time.perf_counter,
) -> Outcome:
    """Time a model, alone or in alternation with a baseline.

    Both are warmed up until stable. Then blocks of about 25 calls alternate, the order within
    each pair turned round every time so that a drift of the machine cancels, until at least five
    pairs were quiet and the interval of the ratio of their medians is narrow. A pair disturbed
    by other processes is thereby repeated. Once the budget is up with fewer than five quiet
    pairs, all pairs count and the outcome is flagged. They count by their CPU times, in which
    waiting for a core does not appear; where those don't show the whole work, by their 10th
    percentiles. These hold only while some calls fit between two interruptions: with calls of
    some milliseconds the shorter ones do and the longer ones don't.

    To stop as soon as an interval is narrow favours those that are so by chance: the 95 %
    intervals hold the truth in 92 to 95 % of measurements (simulated, for ratios of blocks that
    vary by 1 to 5 %).

    Args:
        candidate: makes timed calls of the model.
        effort: when to stop.
        baseline: makes timed calls of the model to compare with.
        clock: injected in tests.
    """
    start = clock()
    models = [candidate] if baseline is None else [baseline, candidate]
    call_ms = [_warm_up(model, effort, clock) for model in models]
    counts = [_calls_per_block(ms, sum(call_ms), effort) for ms in call_ms]
    taken = _Taken()
    order = list(range(len(models)))
    while True:
        pair = {index: _block(models[index], counts[index]) for index in order}
        order.reverse()
        taken.candidate.append(pair[len(models) - 1])
        if baseline is not None:
            taken.baseline.append(pair[0])
        quiet = taken.quiet(effort.contention)
        enough = len(quiet.candidate) >= LEAST_PAIRS
        if enough and quiet.interval("median").width <= effort.width:
            return _outcome(quiet, effort, "median")
        if clock() - start >= effort.budget_s and len(taken.candidate) >= 2:
            return _outcome(quiet, effort, "median") if enough else _disturbed(taken, effort)


def _warm_up(model: TimedCalls, effort: Effort, clock: Clock) -> float:
    """Call a model until ten calls take as long as the ten before; return ms per call."""
    start = clock()
    before = math.inf
    while True:
        calls = model(WARM_UP_CALLS if math.isfinite(before) else LEAST_BLOCK_CALLS)
        now = statistics.median(calls.durations_ms)
        stable = abs(now - before) <= WARM_UP_TOLERANCE * now
        if stable or clock() - start >= WARM_UP_SHARE * effort.budget_s:
            return now
        before = now


def _calls_per_block(call_ms: float, pair_ms: float, effort: Effort) -> int:
    """Return the calls of a block: about 25, more where they are short, fewer where slow.

    Twice the least number of pairs should fit into the budget.
    """
    affordable = int(effort.budget_s * 1000 / (2 * LEAST_PAIRS * max(pair_ms, 1e-6)))
    wanted = max(BLOCK_CALLS, math.ceil(LEAST_BLOCK_MS / max(call_ms, 1e-6)))
    return max(LEAST_BLOCK_CALLS, min(wanted, affordable))


def _block(model: TimedCalls, calls: int) -> Block:
    return Block.of_calls(model(calls))


def _disturbed(taken: _Taken, effort: Effort) -> Outcome:
    """Decide by what there is: medians where pairs were quiet, though few, else CPU times."""
    if len(taken.quiet(effort.contention).candidate) == len(taken.candidate):
        return _outcome(taken, effort, "median")
    known = all(block.cpu_ms is not None for block in taken.baseline + taken.candidate)
    return _outcome(taken, effort, "cpu" if known else "p10")


def _outcome(taken: _Taken, effort: Effort, statistic: Statistic) -> Outcome:
    interval = taken.interval(statistic)
    contention = statistics.fmean(taken.contentions())
    reasons = []
    if statistic != "median":
        reasons.append(
            f"other processes took {contention:.0%} of the time, more than {effort.contention:.0%}"
        )
    if interval.width > effort.width:
        reasons.append(
            f"the 95 % interval is ±{interval.width:.1%}, wider than ±{effort.width:.1%}, after "
            f"{effort.budget_s:g} s"
        )
    return Outcome(
        baseline=tuple(taken.baseline),
        candidate=tuple(taken.candidate),
        interval=interval,
        statistic=statistic,
        contention=contention,
        flag="; ".join(reasons) or None,
    )
