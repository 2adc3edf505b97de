"""Latency of a model: how long one call takes, alone or compared with a baseline.

The protocol and why: a call-by-call alternation measures cold caches, so blocks alternate; under
load medians collapse where the 10th percentile holds, so contention is watched; and machines
drift, so what is measured is the ratio to a baseline timed in the same seconds, and the latency
is that ratio times the baseline's own reference.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from autocompress.metrics import Estimate
from autocompress.targets.sampling import Effort, Outcome, sample
from autocompress.targets.statistics import Interval, Statistic, percentiles_ms
from autocompress.targets.target import Session, Target

STORED = 1000  # samples kept in a Latency, evenly spaced over all that were taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One measured model.

    Attributes:
        latency_ms: milliseconds per call: ratio x reference of the baseline.
        ratio: candidate / baseline; 1 for the baseline itself.
        ratio_low: lower end of the ratio's 95 % interval.
        ratio_high: upper end.
        p10_ms: 10th percentile of the model's own calls.
        p50_ms: median.
        p90_ms: 90th percentile.
        n: calls that count.
        contention: mean fraction of time that other processes took, in [0, 1].
        flag: why the number should be read with care, None where there is no reason.
        statistic: of the blocks: ``"median"``; under contention the median CPU time ``"cpu"``,
            or ``"p10"``, where the calling thread's time is not the whole work.
        samples_ms: up to 1,000 of the calls, evenly spaced in time.
    """

    latency_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p10_ms: float
    p50_ms: float
    p90_ms: float
    n: int
    contention: float
    flag: str | None
    statistic: Statistic
    samples_ms: tuple[float, ...]

    @property
    def estimate(self) -> Estimate:
        """Return the latency in ms with its 95 % interval: the ratio's, times the reference."""
        reference_ms = self.latency_ms / self.ratio
        return Estimate(
            value=self.latency_ms,
            low=self.ratio_low * reference_ms,
            high=self.ratio_high * reference_ms,
            n=self.n,
            flag=self.flag,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "samples_ms": [round(value, 6) for value in self.samples_ms]}


def measure_alone(target: Target, session: Session, effort: Effort) -> Latency:
    """Measure a model by itself: the reference that candidates are later compared with.

    Waits for the device and has it alone meanwhile.

    Args:
        target: on which the session was opened.
        session: the model, ready to run.
        effort: when to stop.
    """
    with target.exclusive():
        outcome = sample(session.time, effort)
    found = outcome.interval
    return _latency(
        outcome,
        latency_ms=found.value,
        ratio=Interval(1.0, found.low / found.value, found.high / found.value),
    )


class LatencyBenchmark:
    """Measures candidates in alternation with one baseline, which was opened once.

    Use it in one thread at a time.

    Attributes:
        target: on which all sessions were opened.
        baseline: the model to compare with, ready to run.
        effort: when to stop.
        reference_ms: the baseline's own latency, from :func:`measure_alone`.
    """

    def __init__(
        self, target: Target, baseline: Session, effort: Effort, *, reference_ms: float
    ) -> None:
        """Keep what to compare with; nothing is run yet."""
        self.target = target
        self.baseline = baseline
        self.effort = effort
        self.reference_ms = reference_ms

    def close(self) -> None:
        """Free what the baseline holds."""
        self.baseline.close()

    def measure(self, session: Session, *, budget_s: float | None = None) -> Latency:
        """Measure a candidate.

        Waits for the device and has it alone meanwhile.

        Args:
            session: the candidate, opened on the same target.
            budget_s: seconds, instead of the effort's.
        """
        effort = self.effort if budget_s is None else replace(self.effort, budget_s=budget_s)
        with self.target.exclusive():
            outcome = sample(session.time, effort, baseline=self.baseline.time)
        ratio = outcome.interval
        return _latency(outcome, latency_ms=ratio.value * self.reference_ms, ratio=ratio)


def _latency(outcome: Outcome, *, latency_ms: float, ratio: Interval) -> Latency:
    samples = [value for block in outcome.candidate for value in block.samples_ms]
    step = max(1, -(-len(samples) // STORED))
    p10, p50, p90 = percentiles_ms(outcome.candidate)
    return Latency(
        latency_ms=latency_ms,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        p10_ms=p10,
        p50_ms=p50,
        p90_ms=p90,
        n=len(samples),
        contention=outcome.contention,
        flag=outcome.flag,
        statistic=outcome.statistic,
        samples_ms=tuple(samples[::step]),
    )
