import pytest

from autocompress.errors import ConfigurationError
from autocompress.study.budget import UNLIMITED, WORTHWHILE_TRIALS, Amount, Budget


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def budget(trials, timeout_s, *, workers=1, done=0):
    clock = Clock()
    return Budget(trials, timeout_s, workers, done, clock), clock


def test_the_time_limits_the_number_of_trials():
    plan, clock = budget(None, 100)
    assert plan.trials == UNLIMITED
    clock.now = 20
    assert plan.plan(done=4) == (20, 80)
    clock.now = 90
    assert plan.plan(done=18) == (20, 10)


def test_the_number_limits_the_time():
    plan, clock = budget(10, None, done=2)
    clock.now = 6
    assert plan.plan(done=5) == (10, 10)


def test_whichever_comes_first():
    plan, clock = budget(10, 30)
    clock.now = 10
    assert plan.plan(done=2) == (6, 20)


def test_trials_are_shortened_until_enough_fit():
    plan, clock = budget(None, 1000)
    clock.now = 100
    assert plan.fidelity([50]) is None
    fitting = 900 / 50
    assert plan.fidelity([50, 50]) == pytest.approx(fitting / (WORTHWHILE_TRIALS - 2))
    assert plan.fidelity([1, 1]) == 1
    few, _ = budget(5, 100)
    assert few.fidelity([30, 30]) == 1
    endless, _ = budget(30, None)
    assert endless.fidelity([]) == 1


def test_two_workers_do_twice_as_much():
    alone, _ = budget(None, 1000)
    together, _ = budget(None, 1000, workers=2)
    assert together.fidelity([100, 100]) == pytest.approx(2 * alone.fidelity([100, 100]))


def test_no_workers_are_refused():
    with pytest.raises(ConfigurationError, match="workers: expected at least 1"):
        Amount(workers=0)


def test_trials_of_earlier_sessions_are_counted_once():
    resumed, _ = budget(None, 100, done=10)
    assert resumed.fidelity([20] * 10) == pytest.approx((100 / 20) / (WORTHWHILE_TRIALS - 10))
