from dataclasses import replace

import pytest

from autocompress.errors import UsageError
from autocompress.metrics import Estimate, Limits, Metric
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.runs.picks import Picker, excesses, infeasibility_of, pick_names
from autocompress.runs.records import TrialRecord

from made_up_runs import ACCURACY, ENERGY, TEST_ACCURACY

OBJECTIVES = (ACCURACY, LATENCY, PARAMETERS)
METRICS = {metric.name: metric for metric in (*OBJECTIVES, ENERGY, TEST_ACCURACY)}
FRAMES = Metric(name="frames", direction="maximize", pick="rapid")


def estimates(**values):
    return {name: Estimate(value=value) for name, value in values.items()}


BASELINE = estimates(accuracy=0.95, latency_ms=2.0, parameters=1000)


def trial(number, accuracy, latency_ratio, parameter_ratio, *, state="complete", **more):
    metrics = estimates(
        accuracy=accuracy, latency_ms=2 * latency_ratio, parameters=1000 * parameter_ratio
    )
    return TrialRecord(number=number, state=state, metrics=metrics, searched=metrics, **more)


def picker(objectives=OBJECTIVES, score=ACCURACY, baseline=BASELINE):
    known = {metric.name: metric for metric in (*objectives, score)}
    return Picker(objectives, score, {**METRICS, **known}, baseline)


FRONT = [
    trial(0, 0.96, 0.9, 0.8),
    trial(1, 0.945, 0.5, 0.4),
    trial(2, 0.90, 0.2, 0.3),
    trial(3, 0.85, 0.3, 0.1),
]


@pytest.mark.parametrize(("how", "number"), [("accurate", 0), ("fast", 2), ("small", 3)])
def test_picks_are_the_best_in_one_way(how, number):
    assert picker().choose(how, FRONT, {}).number == number


def test_there_is_a_pick_for_each_objective():
    assert pick_names(OBJECTIVES) == ("accurate", "fast", "small", "balanced")
    assert pick_names((ENERGY,)) == ("frugal", "balanced")


def test_a_balanced_pick_stays_within_a_point_of_the_baseline():
    assert picker().choose("balanced", FRONT, {}).number == 1
    assert picker().choose("balanced", FRONT[2:], {}).number == 2


def test_exactly_a_point_below_the_baseline_is_within_it():
    baseline = {**BASELINE, "accuracy": Estimate(value=0.59)}
    front = [trial(0, 0.60, 0.9, 0.9), trial(1, 0.59 - 0.01, 0.5, 0.5)]
    assert picker(baseline=baseline).choose("balanced", front, {}).number == 1


def test_a_score_that_is_no_fraction_may_lose_a_hundredth_of_itself():
    loss = replace(ACCURACY, name="loss", direction="minimize", format="number", pick="exact")
    ways = picker((loss, LATENCY), loss, estimates(loss=20.0, latency_ms=2.0))
    front = [
        TrialRecord(number=n, state="complete", metrics=estimates(loss=value, latency_ms=ms))
        for n, (value, ms) in enumerate([(19.0, 1.9), (20.2, 1.0), (20.3, 0.5)])
    ]
    assert ways.choose("balanced", front, {}).number == 1
    assert ways.choose("balanced", front[2:], {}).number == 2
    assert ways.choose("exact", front, {}).number == 0


def test_more_is_better_counts_inversely_in_a_balanced_pick():
    ways = picker((ACCURACY, FRAMES), baseline=estimates(accuracy=0.9, frames=10.0))
    front = [
        TrialRecord(number=n, state="complete", metrics=estimates(accuracy=0.9, frames=frames))
        for n, frames in enumerate([20.0, 30.0, 25.0])
    ]
    assert ways.choose("balanced", front, {}).number == 1
    assert ways.choose("rapid", front, {}).number == 1


def test_one_objective_has_its_best_as_both_picks():
    ways = picker((ACCURACY,))
    assert ways.choose("balanced", FRONT, {}).number == 0
    assert ways.choose("accurate", FRONT, {}).number == 0


def test_a_budget_leaves_models_out():
    assert picker().choose("small", FRONT, {"accuracy": 0.9}).number == 2
    assert picker().choose("accurate", FRONT, {"latency_ms": 1.0}).number == 1
    assert picker().choose("accurate", FRONT, {"parameters": 100}).number == 3


def test_a_metric_that_is_not_known_is_outside_every_budget():
    assert excesses({"energy_mj": 5.0}, FRONT[0].metrics, METRICS) == {"energy_mj": float("inf")}


def test_a_budget_that_nothing_keeps_names_the_nearest():
    budget = {"accuracy": 0.94, "latency_ms": 0.9}
    text = (
        r"nearest is trial 2 \(it misses accuracy\): accuracy 90.00 %, latency 0.40 ms, "
        r"parameters 300$"
    )
    with pytest.raises(UsageError, match=text):
        picker().choose("fast", FRONT, budget)


@pytest.mark.parametrize(
    ("how", "budget", "message"),
    [
        ("fats", {}, r"unknown pick 'fats' \(did you mean 'fast'\?\); allowed: accurate, fast"),
        (
            "fast",
            {"test_accuracy": 1},
            "a score on test data, by which no model",
        ),
        ("fast", {"latency": 1}, r"unknown metric 'latency' .*allowed: accuracy, latency_ms"),
    ],
)
def test_unknown_names_are_refused(how, budget, message):
    with pytest.raises(UsageError, match=message):
        picker().choose(how, FRONT, budget)


LIMITS = Limits.from_mapping({"accuracy_drop": 0.02, "latency_ratio": 0.5}, OBJECTIVES)


def test_misses_tell_which_limit_binds():
    trials = [
        trial(0, 0.90, 0.4, 1, violations={"accuracy_drop": 0.03, "latency_ratio": -0.1}),
        trial(1, 0.92, 0.6, 1, violations={"accuracy_drop": 0.01, "latency_ratio": 0.1}),
        trial(2, 0.94, 0.9, 1, violations={"accuracy_drop": -0.01, "latency_ratio": 0.4}),
        trial(3, 0.5, 1, 1, state="pruned", violations={"latency_ratio": 0.5}),
    ]
    found = infeasibility_of(trials, LIMITS)
    assert found.tried == {"accuracy_drop": 3, "latency_ratio": 4}
    assert found.broken == {"latency_ratio": 3, "accuracy_drop": 2}
    assert found.alone == {"latency_ratio": 1, "accuracy_drop": 1}
    assert found.nearest.number == 0
    assert found.by == {"accuracy_drop": 0.03}


def test_no_misses_without_broken_limits():
    assert (
        infeasibility_of([trial(0, 0.9, 0.5, 0.5, violations={"accuracy_drop": -0.1})], LIMITS)
        is None
    )
