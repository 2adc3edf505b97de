import math

import pytest

from autocompress.techniques.schedules import SCHEDULES, fraction_at, returns_to_dense
from autocompress.testing.techniques import check_schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_keeps_its_contract(name):
    check_schedule(SCHEDULES[name])


def test_only_dense_sparse_dense_returns_to_dense():
    assert [name for name in SCHEDULES if returns_to_dense(SCHEDULES[name])] == ["dsd"]


def falling(progress):
    """Fall."""
    return 1.0 - progress


def wavy(progress):
    """Climb in waves."""
    return abs(math.sin(4.5 * math.pi * progress))


def high(progress):
    """Climb beyond the target."""
    return 2 * progress


@pytest.mark.parametrize(
    ("schedule", "message"),
    [(falling, "ends at"), (wavy, "falls"), (high, "leaves"), (lambda p: p, "no docstring")],
)
def test_what_breaks_the_contract_is_said(schedule, message):
    with pytest.raises(AssertionError, match=message):
        check_schedule(schedule)


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
def test_an_empty_window_is_a_step(name):
    assert fraction_at(SCHEDULES[name], 0.49, 0.5, 0.5) == 0
    assert fraction_at(SCHEDULES[name], 0.5, 0.5, 0.5) == SCHEDULES[name](1.0)
