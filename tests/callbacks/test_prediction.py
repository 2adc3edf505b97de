import math

import numpy as np
import pytest

from autocompress.callbacks.prediction import (
    Completed,
    EarlyStopping,
    Running,
    by_stage,
    decide,
    errors_left,
    optimistic_score,
)
from autocompress.errors import ConfigurationError

ITEMS = 1000
PLANNED = {"train": 2, "recover": 2}


def finished(number, scores, *, score=None, latency_ms=1.0, parameters=100, feasible=True):
    half = len(scores) // 2
    return Completed(
        number=number,
        curve={"train": scores[:half], "recover": scores[half:]},
        score=scores[-1] if score is None else score,
        costs={"latency_ms": latency_ms, "parameters": parameters},
        feasible=feasible,
    )


def running(*scores, planned=PLANNED, latency_ms=2.0, parameters=200):
    first = planned["train"]
    curve = {"train": scores[:first], "recover": scores[first:]}
    costs = {"latency_ms": latency_ms, "parameters": parameters}
    known = {name: cost for name, cost in costs.items() if cost is not None}
    return Running(curve=curve, planned=planned, costs=known)


def alike(n=8, **options):
    """Trials that halve their errors, 20 %, 40 %, 20 %, 10 %, up to a little noise."""
    return [
        finished(i, [0.8, 0.6, 0.8, 0.9], **{"score": 0.9 + 0.001 * i, **options})
        for i in range(n)
    ]


def test_a_hopeless_trial_is_stopped_in_favour_of_the_best_dominator():
    decision = decide(running(0.5), alike(), items=ITEMS)
    assert decision.stop
    assert decision.epoch == 1
    assert decision.dominated_by == 7
    assert 0.5 < decision.bound < 0.9
    assert "trial 7 has 0.9070" in decision.reason


def test_a_drop_that_others_came_back_from_is_no_reason_to_stop():
    assert not decide(running(0.8, 0.6), alike(), items=ITEMS).stop
    assert decide(running(0.8, 0.6, 0.6), alike(), items=ITEMS).stop


def test_nothing_is_stopped_before_enough_trials_are_complete():
    early = decide(running(0.01), alike(7), items=ITEMS)
    assert (early.stop, early.bound) == (False, 1.0)
    assert "7 of 8" in early.reason
    assert decide(running(0.01), alike(8), items=ITEMS).stop


def test_nothing_is_stopped_once_it_is_trained():
    assert decide(running(0.1, 0.1, 0.1), alike(), items=ITEMS).stop
    assert not decide(running(0.1, 0.1, 0.1, 0.1), alike(), items=ITEMS).stop


@pytest.mark.parametrize(
    "better",
    [
        {"feasible": False},
        {"latency_ms": 1.81},
        {"parameters": 201},
        {"score": 0.4},
    ],
)
def test_a_dominator_is_feasible_and_no_worse_in_anything(better):
    assert not decide(running(0.5), alike(**better), items=ITEMS).stop


def test_the_latency_margin_is_a_fraction_of_the_estimated_latency():
    others = alike(latency_ms=1.81)
    assert not decide(running(0.5), others, items=ITEMS).stop
    narrow = EarlyStopping(latency_margin=0.09)
    assert decide(running(0.5), others, items=ITEMS, settings=narrow).stop


def test_an_equally_fast_trial_is_no_dominator_even_without_a_margin():
    none = EarlyStopping(latency_margin=0)
    assert not decide(running(0.5, latency_ms=1.0), alike(), items=ITEMS, settings=none).stop


@pytest.mark.parametrize("unknown", [{"latency_ms": None}, {"parameters": None}])
def test_what_is_not_estimated_is_only_stopped_by_the_limit(unknown):
    trial = running(0.5, **unknown)
    assert not decide(trial, alike(), items=ITEMS).stop
    decision = decide(trial, alike(), items=ITEMS, lowest_score=0.89)
    assert (decision.stop, decision.dominated_by) == (True, None)
    assert "below the limit of 0.8900" in decision.reason


def test_a_limit_within_reach_is_no_reason_to_stop():
    bound = decide(running(0.5), alike(parameters=300), items=ITEMS).bound
    for limit, stop in ((bound, False), (bound + 0.001, True)):
        trial = running(0.5)
        decision = decide(trial, alike(parameters=300), items=ITEMS, lowest_score=limit)
        assert decision.stop == stop


def test_infeasible_trials_still_say_how_training_goes_on():
    others = [*alike(7, feasible=False), finished(7, [0.8, 0.6, 0.8, 0.9])]
    assert decide(running(0.5), others, items=ITEMS).dominated_by == 7


def test_errors_left_are_taken_at_the_same_share_of_the_same_stage():
    long = finished(0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    short = finished(1, [0.4, 0.8])

    def left(*scores):
        return [round(share, 2) for share in errors_left(running(*scores), [long, short], 10**6)]

    assert left(0.5) == [0.25]  # long after 2 of 4, short has no epoch yet
    assert left(0.5, 0.5) == [0.33, 0.33]
    assert left(0.5, 0.5, 0.5) == [0.5, 0.33]  # short is still where its stage began


def test_a_longer_trial_is_seen_by_its_progress_not_by_its_epochs():
    planned = {"train": 4, "recover": 4}
    trial = running(0.5, 0.5, planned=planned)
    other = finished(0, [0.2, 0.4, 0.6, 0.9])
    assert errors_left(trial, [other], 10**6) == pytest.approx([0.1 / 0.8], rel=1e-4)


def test_trials_with_other_stages_say_nothing():
    without = [
        Completed(
            number=i,
            curve={"train": [0.8, 0.6], "recover": []},
            score=0.9,
            costs={"latency_ms": 1.0, "parameters": 100},
            feasible=True,
        )
        for i in range(8)
    ]
    assert errors_left(running(0.5), without, ITEMS) == []
    trial = Running(
        curve={"train": [0.5]},
        planned={"train": 2, "recover": 0},
        costs={"latency_ms": 2.0, "parameters": 200},
    )
    assert len(errors_left(trial, without, ITEMS)) == 8
    assert errors_left(trial, alike(), ITEMS) == []


@pytest.mark.parametrize("seed", range(30))
def test_no_bound_is_below_what_the_best_seen_share_leads_to(seed):
    rng = np.random.default_rng(seed)
    shares = list(np.exp(rng.normal(-1, 1, int(rng.integers(3, 30)))))
    errors = float(rng.uniform(0, 1))
    best = 1 - ((errors + 0.5 / ITEMS) * min(*shares, 1.0) - 0.5 / ITEMS)
    assert optimistic_score(errors, shares, ITEMS, 0.6) >= min(1.0, best) - 1e-12
    bounds = [optimistic_score(errors, shares, ITEMS, c) for c in (0.6, 0.9, 0.99)]
    assert bounds == sorted(bounds)
    assert bounds[0] >= 1 - errors - 1e-12
    assert bounds[-1] <= 1


def some_trials(seed):
    rng = np.random.default_rng(seed)
    return [
        finished(
            i,
            list(rng.uniform(0.5, 0.8, 4)),
            score=float(rng.uniform(0.6, 0.9)),
            latency_ms=float(rng.uniform(1, 2)),
            parameters=int(rng.integers(1, 1000)),
            feasible=bool(rng.integers(2)),
        )
        for i in range(12)
    ]


def test_what_is_stopped_among_others_like_it_and_itself_is_dominated_in_truth():
    settings = EarlyStopping(confidence=0.51, latency_margin=0)
    stops = 0
    for trials in map(some_trials, range(50)):
        for trial in trials:
            points = [*trial.curve["train"], *trial.curve["recover"]]
            estimated = dict(trial.costs)
            for epoch in range(1, 4):
                now = running(*points[:epoch], **estimated)
                decision = decide(now, trials, items=ITEMS, settings=settings)
                assert decision.bound >= trial.score - 1e-9
                if decision.stop:
                    stops += 1
                    other = trials[decision.dominated_by]
                    assert other.feasible
                    assert other.score >= trial.score - 1e-9
                    assert other.costs["latency_ms"] < trial.costs["latency_ms"]
                    assert other.costs["parameters"] <= trial.costs["parameters"]
    assert stops > 0


def test_the_next_trial_exceeds_the_bound_as_rarely_as_promised():
    rng = np.random.default_rng(0)
    missed = [
        optimistic_score(0.5, list(np.exp(logs[:8])), 10**9, 0.95) < 1 - 0.5 * math.exp(logs[8])
        for logs in rng.normal(-3, 0.5, (2000, 9))
    ]
    assert 0.03 < np.mean(missed) < 0.06


def test_a_bound_of_equal_shares_is_exact():
    assert optimistic_score(0.4, [0.25] * 8, 10**9, 0.99) == pytest.approx(0.9)
    assert optimistic_score(0.4, [1.5] * 8, 10**9, 0.99) == pytest.approx(0.6)


def test_errors_of_zero_items_are_no_fault():
    perfect = [finished(i, [1.0, 1.0, 1.0, 1.0], score=1 - i / ITEMS) for i in range(8)]
    decision = decide(running(1.0), perfect, items=ITEMS)
    assert (decision.stop, decision.bound) == (True, 1.0)  # trial 0 has 1.0 too, and is faster


def test_a_curve_is_sorted_by_stage():
    points = [("train", 0.1), ("train", 0.2), ("recover", 0.3)]
    assert by_stage(points) == {"train": [0.1, 0.2], "recover": [0.3]}


@pytest.mark.parametrize(
    "wrong", [{"min_trials": 2}, {"confidence": 1.0}, {"latency_margin": -0.1}]
)
def test_settings_keep_their_ranges(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EarlyStopping(**wrong)
