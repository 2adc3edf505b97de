import numpy as np
import pytest

from autocompress.targets.sampling import LEAST_PAIRS, Effort, sample
from autocompress.targets.statistics import Calls

QUIET = Effort(budget_s=5.0, width=0.02, contention=0.1)


class Machine:
    """A made-up machine: a clock, and models whose calls take made-up times on it."""

    def __init__(self, seed=0):
        self.seconds = 0.0
        self.order = []
        self.generator = np.random.default_rng(seed)

    def clock(self):
        return self.seconds

    def model(
        self, name, call_ms, *, noise=0.01, contention=0.0, cold_ms=0.0, warming=0, cpu=False
    ):
        """A model with log-normal noise whose first calls of a block are slower.

        With contention c, that share of the calls takes three times as long, of which their CPU
        times, told if ``cpu``, show nothing.
        """
        calls = 0

        def run(count):
            nonlocal calls
            self.order.append((name, count))
            share = contention(self.seconds) if callable(contention) else contention
            durations = call_ms * np.exp(self.generator.normal(0, noise, count))
            worked = durations.copy()
            durations[self.generator.random(count) < share * 0.9] *= 3
            durations[:2] += cold_ms
            durations *= 1 + 2 * np.clip(1 - (calls + np.arange(count)) / max(warming, 1e-9), 0, 1)
            calls += count
            self.seconds += durations.sum() / 1000
            return Calls(list(durations), share, cpu_ms=None if not cpu else list(worked))

        return run

    def drifting(self, run, per_second):
        """The same model on a machine that slows down."""

        def slower(count):
            factor = 1 + per_second * self.seconds
            calls = run(count)
            return Calls([value * factor for value in calls.durations_ms], calls.contention)

        return slower


def compared(machine, candidate, baseline, effort=QUIET):
    return sample(candidate, effort, baseline=baseline, clock=machine.clock)


def test_a_quiet_machine_gives_the_ratio_soon():
    machine = Machine()
    found = compared(machine, machine.model("c", 0.3), machine.model("b", 1.0))
    assert found.interval.value == pytest.approx(0.3, rel=0.02)
    assert found.interval.width <= QUIET.width
    assert (found.statistic, found.flag) == ("median", None)
    assert machine.seconds < 1


def test_blocks_alternate_and_turn_round():
    machine = Machine()
    compared(machine, machine.model("c", 1.0), machine.model("b", 1.0))
    blocks = [name for name, count in machine.order if count == 25]
    assert "".join(blocks[:8]) == "bccbbccb"


def test_the_first_two_calls_of_each_block_do_not_count():
    machine = Machine()
    found = compared(
        machine,
        machine.model("c", 0.5, noise=0.001, cold_ms=5),
        machine.model("b", 1.0, noise=0.001, cold_ms=1),
    )
    assert max(value for block in found.candidate for value in block.samples_ms) < 0.6
    assert all(len(block.samples_ms) == 23 for block in found.candidate)
    assert found.interval.value == pytest.approx(0.5, rel=0.005)


def test_a_drifting_machine_does_not_bias_the_ratio():
    machine = Machine()
    effort = Effort(budget_s=3.0, width=1e-9, contention=0.1)
    found = compared(
        machine,
        machine.drifting(machine.model("c", 1.0), 0.1),
        machine.drifting(machine.model("b", 1.0), 0.1),
        effort,
    )
    assert found.interval.value == pytest.approx(1.0, rel=0.002)


def test_warm_up_is_over_before_anything_counts():
    machine = Machine()
    found = compared(machine, machine.model("c", 1.0, warming=60), machine.model("b", 1.0))
    assert found.interval.value == pytest.approx(1.0, rel=0.02)


def test_a_noisy_model_is_measured_longer():
    def blocks(noise):
        machine = Machine()
        return len(
            compared(
                machine, machine.model("c", 1.0, noise=noise), machine.model("b", 1.0)
            ).candidate
        )

    assert blocks(0.01) == LEAST_PAIRS
    assert blocks(0.3) > 2 * LEAST_PAIRS


def test_disturbed_pairs_are_repeated_until_enough_were_quiet():
    machine = Machine()

    def passing(seconds):
        return 0.5 if seconds < 1 else 0.0

    found = compared(
        machine,
        machine.model("c", 0.5, contention=passing),
        machine.model("b", 1.0, contention=passing),
    )
    assert (found.statistic, found.contention, found.flag) == ("median", 0.0, None)
    assert found.interval.value == pytest.approx(0.5, rel=0.02)


def test_lasting_contention_turns_to_the_tenth_percentile_and_is_flagged():
    machine = Machine()
    found = compared(
        machine,
        machine.model("c", 0.5, contention=0.6),
        machine.model("b", 1.0, contention=0.6),
    )
    assert found.statistic == "p10"
    assert found.contention == pytest.approx(0.6)
    assert "other processes took 60% of the time, more than 10%" in found.flag
    assert found.interval.value == pytest.approx(0.5, rel=0.04)
    assert machine.seconds == pytest.approx(QUIET.budget_s, rel=0.1)


def test_lasting_contention_does_not_show_in_cpu_times():
    machine = Machine()
    found = compared(
        machine,
        machine.model("c", 0.5, contention=1.0, cpu=True),
        machine.model("b", 1.0, contention=0.4, cpu=True),
    )
    assert found.statistic == "cpu"
    assert "other processes took 100% of the time" in found.flag
    assert found.interval.value == pytest.approx(0.5, rel=0.01)


def test_cpu_times_count_only_where_both_models_have_them():
    machine = Machine()
    found = compared(
        machine,
        machine.model("c", 0.5, contention=0.6, cpu=True),
        machine.model("b", 1.0, contention=0.6),
    )
    assert found.statistic == "p10"


def test_a_wide_interval_at_the_end_of_the_budget_is_flagged():
    machine = Machine()
    effort = Effort(budget_s=0.2, width=0.0001, contention=0.1)
    found = compared(machine, machine.model("c", 0.5), machine.model("b", 1.0), effort)
    assert "wider than ±0.0%, after 0.2 s" in found.flag
    assert found.statistic == "median"


def test_short_calls_come_in_larger_blocks_and_long_ones_in_smaller():
    def counts(call_ms):
        machine = Machine()
        compared(machine, machine.model("c", call_ms), machine.model("b", call_ms))
        return [count for _, count in machine.order[-4:]]

    assert min(counts(0.01)) >= 450
    assert max(counts(50)) == 5


def test_a_slow_model_gets_two_pairs_whatever_the_budget():
    machine = Machine()
    found = compared(machine, machine.model("c", 3000), machine.model("b", 3000))
    assert len(found.candidate) == 2
    assert found.flag is not None


def test_a_model_alone_is_measured_in_milliseconds():
    machine = Machine()
    found = sample(machine.model("c", 2.5), QUIET, clock=machine.clock)
    assert found.interval.value == pytest.approx(2.5, rel=0.02)
    assert found.baseline == ()
    assert found.flag is None
