import math

import pytest

from autocompress.techniques.schedules import RETURN_TO_DENSE, SCHEDULES, fraction_at

STEPS = [step / 500 for step in range(501)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_stays_in_its_bounds(name):
    assert all(0 <= SCHEDULES[name](p) <= 1 for p in STEPS)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_ends_where_it_claims_to(name):
    assert SCHEDULES[name](1.0) == pytest.approx(0.0 if name in RETURN_TO_DENSE else 1.0)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in RETURN_TO_DENSE])
def test_a_schedule_never_falls(name):
    values = [SCHEDULES[name](p) for p in STEPS]
    assert values == sorted(values)


@pytest.mark.parametrize("name", RETURN_TO_DENSE)
def test_a_schedule_that_returns_to_dense_reaches_the_target_before(name):
    assert max(SCHEDULES[name](p) for p in STEPS) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_says_what_it_does(name):
    assert SCHEDULES[name].__doc__


@pytest.mark.parametrize(
    ("name", "progress", "expected"),
    [
        ("one_shot", 0.0, 1.0),
        ("iterative", 0.0, 0.0),
        ("iterative", 0.3, 1 / 3),
        ("iterative", 0.5, 2 / 3),
        ("agp", 0.5, 0.875),
        ("one_cycle", 0.5, (1 + math.exp(-9)) / (1 + math.exp(-2))),
        ("cosine", 0.25, 0.5 - math.sqrt(0.125)),
        ("linear", 0.3, 0.3),
        ("dsd", 0.2, 0.0),
        ("dsd", 0.5, 1.0),
        ("dsd", 0.7, 0.0),
    ],
)
def test_values_worked_out_by_hand(name, progress, expected):
    assert SCHEDULES[name](progress) == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_window_holds_for_every_schedule(name):
    schedule = SCHEDULES[name]
    assert fraction_at(schedule, 0.19, 0.2, 0.6) == 0
    assert fraction_at(schedule, 0.4, 0.2, 0.6) == pytest.approx(schedule(0.5))
    assert fraction_at(schedule, 0.6, 0.2, 0.6) == schedule(1.0)
    assert fraction_at(schedule, 1.0, 0.2, 0.6) == schedule(1.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_empty_window_is_a_step(name):
    assert fraction_at(SCHEDULES[name], 0.49, 0.5, 0.5) == 0
    assert fraction_at(SCHEDULES[name], 0.5, 0.5, 0.5) == SCHEDULES[name](1.0)
