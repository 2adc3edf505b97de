from types import SimpleNamespace

import pytest

from autocompress.errors import UsageError
from autocompress.study.picks import ALL, Demands, choose, misses_of

BASELINE_ACCURACY = 0.95


def trial(number, accuracy, latency_ratio, parameter_ratio, **more):
    metrics = {
        "accuracy": accuracy,
        "latency_ratio": latency_ratio,
        "latency_ms": 2 * latency_ratio,
        "parameter_ratio": parameter_ratio,
        "parameters": round(1000 * parameter_ratio),
    }
    facts = {"violations": {}, "state": "complete", **more}
    return SimpleNamespace(number=number, metrics=metrics, **facts)


FRONT = [
    trial(0, 0.96, 0.9, 0.8),
    trial(1, 0.945, 0.5, 0.4),
    trial(2, 0.90, 0.2, 0.3),
    trial(3, 0.85, 0.3, 0.1),
]


@pytest.mark.parametrize(("how", "number"), [("accurate", 0), ("fast", 2), ("small", 3)])
def test_picks_are_the_best_in_one_way(how, number):
    assert choose(how, FRONT, ALL, BASELINE_ACCURACY).number == number


def test_a_balanced_pick_stays_within_a_point_of_the_baseline():
    assert choose("balanced", FRONT, ALL, BASELINE_ACCURACY).number == 1
    assert choose("balanced", FRONT[2:], ALL, BASELINE_ACCURACY).number == 2


def test_demands_leave_models_out():
    assert choose("small", FRONT, Demands(min_accuracy=0.9), BASELINE_ACCURACY).number == 2
    assert choose("accurate", FRONT, Demands(max_latency_ms=1.0), BASELINE_ACCURACY).number == 1
    assert choose("accurate", FRONT, Demands(max_parameters=100), BASELINE_ACCURACY).number == 3


def test_demands_that_nothing_meets_name_the_nearest():
    demands = Demands(min_accuracy=0.94, max_latency_ms=0.9)
    with pytest.raises(UsageError, match=r"nearest is trial 2 \(it misses accuracy\)"):
        choose("fast", FRONT, demands, BASELINE_ACCURACY)


def test_misses_tell_which_limit_binds():
    limits = {"accuracy_drop": 0.02, "latency_ratio": 0.5}
    trials = [
        trial(0, 0.90, 0.4, 1, violations={"accuracy_drop": 0.03, "latency_ratio": -0.1}),
        trial(1, 0.92, 0.6, 1, violations={"accuracy_drop": 0.01, "latency_ratio": 0.1}),
        trial(2, 0.94, 0.9, 1, violations={"accuracy_drop": -0.01, "latency_ratio": 0.4}),
        trial(3, 0.5, 1, 1, state="pruned", violations={"latency_ratio": 0.5}),
    ]
    misses = misses_of(trials, limits)
    assert misses.tried == {"accuracy_drop": 3, "latency_ratio": 4}
    assert misses.broken == {"latency_ratio": 3, "accuracy_drop": 2}
    assert misses.alone == {"latency_ratio": 1, "accuracy_drop": 1}
    assert misses.nearest.number == 0
    assert misses.by == {"accuracy_drop": 0.03}


def test_no_misses_without_broken_limits():
    assert misses_of([trial(0, 0.9, 0.5, 0.5, violations={"accuracy_drop": -0.1})], {}) is None
