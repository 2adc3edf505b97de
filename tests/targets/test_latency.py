"""Latencies of sessions, alone and beside a baseline: of real calls, and of a made-up target."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate
from autocompress.targets import (
    Calls,
    Effort,
    Latency,
    LatencyBenchmark,
    local_target,
    measure_alone,
)

BRIEF = Effort(budget_s=0.1)
EXAMPLE = torch.rand(1, 1, 6, 6)


def small(width=4):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten()).eval()


def opened(model, target):
    artifact = target.prepare(model, "fp32", example=EXAMPLE, calibration=iter(()))
    return target.open(artifact, EXAMPLE)


@dataclass
class MadeUp:
    """A target whose sessions take made-up times, and which notes what happens to it."""

    name: str = "made up"
    batch_size: int = 1
    precisions: tuple[str, ...] = ("fp32",)
    quick: bool = True
    events: list[str] = field(default_factory=list)

    @contextmanager
    def exclusive(self):
        self.events.append("locked")
        yield
        self.events.append("released")

    def session(self, name, call_ms):
        return MadeUpSession(name, call_ms, self.events)


@dataclass
class MadeUpSession:
    name: str
    call_ms: float
    events: list[str]

    def time(self, calls):
        if self.events[-1] != self.name:
            self.events.append(self.name)
        wave = (1.0, 1.02, 0.98, 1.01, 0.99)
        return Calls([self.call_ms * wave[i % 5] for i in range(calls)], contention=0.0)


def test_a_reference_is_its_own_baseline():
    target = local_target(device="cpu")
    found = measure_alone(target, opened(small(), target), BRIEF)
    assert found.latency_ms > 0
    assert found.ratio == 1
    assert found.ratio_low <= 1 <= found.ratio_high
    assert found.p10_ms <= found.p50_ms <= found.p90_ms
    assert found.n >= len(found.samples_ms) > 0


def test_a_paired_latency_is_the_ratio_times_the_reference():
    target = local_target(device="cpu")
    benchmark = LatencyBenchmark(target, opened(small(), target), BRIEF, reference_ms=200.0)
    found = benchmark.measure(opened(small(2), target))
    assert found.latency_ms == pytest.approx(200 * found.ratio)
    assert found.ratio_low <= found.ratio <= found.ratio_high


def test_made_up_times_give_their_ratio():
    target = MadeUp()
    baseline = target.session("baseline", 4.0)
    assert measure_alone(target, baseline, BRIEF).latency_ms == pytest.approx(4.0, rel=0.01)
    found = LatencyBenchmark(target, baseline, BRIEF, reference_ms=10.0).measure(
        target.session("candidate", 1.0)
    )
    assert found.ratio == pytest.approx(0.25, rel=0.01)
    assert found.estimate.value == pytest.approx(2.5, rel=0.01)


def test_the_device_is_held_alone_while_calls_are_timed():
    target = MadeUp()
    baseline = target.session("baseline", 4.0)
    measure_alone(target, baseline, BRIEF)
    assert target.events == ["locked", "baseline", "released"]
    target.events.clear()
    benchmark = LatencyBenchmark(target, baseline, BRIEF, reference_ms=4.0)
    benchmark.measure(target.session("candidate", 1.0))
    assert target.events[0] == "locked"
    assert target.events[-1] == "released"
    assert {"baseline", "candidate"} == set(target.events[1:-1])


def test_baseline_and_candidate_take_turns():
    target = MadeUp()
    benchmark = LatencyBenchmark(target, target.session("baseline", 4.0), BRIEF, reference_ms=4.0)
    benchmark.measure(target.session("candidate", 1.0))
    assert target.events[1:7] == ["baseline", "candidate"] * 3  # pairs turn round: no drift


def test_an_estimate_has_the_interval_of_the_ratio_times_the_reference():
    latency = Latency(
        latency_ms=5.0, ratio=0.5, ratio_low=0.4, ratio_high=0.65, p10_ms=4.0, p50_ms=5.0,
        p90_ms=6.0, n=120, contention=0.0, flag="noisy", statistic="median", samples_ms=(5.0,),
    )  # fmt: skip
    expected = Estimate(value=5.0, low=4.0, high=6.5, n=120, flag="noisy")
    assert latency.estimate == expected


def test_a_briefer_measurement_can_be_asked_for():
    target = MadeUp()
    benchmark = LatencyBenchmark(
        target, target.session("baseline", 40.0), Effort(budget_s=60.0), reference_ms=40.0
    )
    long, brief = (
        benchmark.measure(target.session("candidate", 40.0), budget_s=budget_s)
        for budget_s in (None, 0.5)
    )
    assert brief.n < long.n


def test_a_latency_becomes_plain_data():
    target = local_target(device="cpu")
    found = measure_alone(target, opened(small(), target), BRIEF)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["latency_ms"] == found.latency_ms
    assert data["statistic"] in ("median", "cpu", "p10")
    assert len(data["samples_ms"]) <= 1000


def test_all_wrong_efforts_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Effort(budget_s=0, width=-1, contention=2)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "budget_s", "width", "contention",
    ]  # fmt: skip
