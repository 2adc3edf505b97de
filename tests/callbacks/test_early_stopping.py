"""A trial beside ten good ones that hardly changed after their first epoch."""

from dataclasses import replace

import pytest

from autocompress.callbacks.early_stopping import StopEarly, is_predictable
from autocompress.callbacks.estimate import EstimateStructure, StructureEstimate
from autocompress.metrics import Estimate, Metric
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Rival
from autocompress.training.fitting import Training
from autocompress.trial import PrunedError

from small_studies import limited

RECIPE = Recipe(training=Training(epochs=3, recovery_epochs=1))


def records(scores):
    stages = [("train", 1), ("train", 2), ("train", 3), ("recover", 1)]
    return tuple(
        EpochRecord(stage=stage, epoch=epoch, train_loss=1.0, valid_loss=1.0, score=score)
        for (stage, epoch), score in zip(stages, scores, strict=True)
    )


def rival(number, **more):
    score = 0.91 + number / 1000
    values = {"accuracy": score, "latency_ms": 1.0, "parameters": 100}
    given = {"score": score, "values": values, "feasible": True}
    curve = records([0.90, 0.90, 0.905, score])
    return Rival(**{"number": number, "curve": curve, **given, **more})


RIVALS = (
    *(rival(number) for number in range(10)),
    rival(10, score=1.0, curve=()),  # a derived one, which was not trained by itself
)


@pytest.fixture
def context(begun):
    """One whose validation split is as large as a score of three digits needs."""

    class Large(type(begun.problem.data)):
        sizes = {"train": 300, "valid": 1000, "test": 150}  # noqa: RUF012

    data = begun.problem.data
    large = object.__new__(Large)
    large.__dict__.update(data.__dict__)
    baseline = {**begun.baseline_metrics, "accuracy": Estimate(value=0.93)}
    problem = replace(begun.problem, data=large)
    return replace(begun, problem=problem, baseline_metrics=baseline)


def stopping(context, *, latency_ms=2.0, exact=True, rivals=RIVALS, estimated=True, **limits):
    context = limited(context, **limits)
    estimate = EstimateStructure(context, context.start, for_stopping=True)
    known = {"parameters": 200, "latency_ms": latency_ms}
    metrics = {n: Estimate(value=value) for n, value in known.items() if value is not None}
    if estimated:
        estimate.found = StructureEstimate(metrics=metrics, exact=exact)
    return StopEarly(RECIPE, context, rivals, estimate)


def after(stopping, score, epoch=1):
    record = EpochRecord(stage="train", epoch=epoch, train_loss=1, valid_loss=1, score=score)
    stopping.epoch(record, None)


def test_a_hopeless_trial_is_stopped_with_what_is_known(context):
    with pytest.raises(PrunedError, match=r"trial 9 has 0\.9190") as caught:
        after(stopping(context), 0.3)
    failure = caught.value.failure
    assert (failure.stage, failure.dominated_by, failure.epoch) == ("train", 9, 1)
    assert 0.3 < failure.bound < 0.919
    known = {name: found.value for name, found in caught.value.metrics.items()}
    assert known == {"accuracy": 0.3, "latency_ms": 2.0, "parameters": 200}


@pytest.mark.parametrize(
    "change",
    [
        {"latency_ms": 1.05},  # may be faster than all others
        {"latency_ms": None},
        {"exact": False},
        {"estimated": False},
        {"rivals": RIVALS[:7]},
        {"rivals": tuple(rival(number, feasible=False) for number in range(10))},
    ],
)
def test_what_may_still_win_goes_on(context, change):
    after(stopping(context, **change), 0.3)


def test_a_good_trial_goes_on(context):
    after(stopping(context), 0.95)


def test_a_limit_on_the_score_stops_too(context):
    fastest = stopping(context, latency_ms=0.1, accuracy_drop=0.05)
    with pytest.raises(PrunedError, match="below the limit"):
        after(fastest, 0.3)


def test_a_limit_on_the_score_needs_no_estimate(context):
    for estimate in (True, False):
        unknown = stopping(context, estimated=False, accuracy_drop=0.05)
        unknown.estimate = unknown.estimate if estimate else None
        with pytest.raises(PrunedError, match="below the limit") as caught:
            after(unknown, 0.3)
        assert set(caught.value.metrics) == {"accuracy"}


@pytest.mark.parametrize(
    ("kind", "direction", "expected"),
    [("fraction", "maximize", True), ("fraction", "minimize", False), ("", "maximize", False)],
)
def test_only_the_end_of_shares_of_right_answers_is_predicted(kind, direction, expected):
    score = Metric(name="depth", direction=direction, **({"format": kind} if kind else {}))
    assert is_predictable(score) is expected
