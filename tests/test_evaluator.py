"""The metrics of one model, the user's own among them."""

import math
from dataclasses import replace

import pytest
import torch

from autocompress.errors import TrialError
from autocompress.metrics import Estimate, Metric
from autocompress.targets import LatencyBenchmark, local_target
from autocompress.training.evaluation import evaluate


def own(measure, name="weight_kg"):
    return Metric(name=name, direction="minimize", measure=measure)


def measured(begun, *measures):
    named = [own(measure, f"own_{index}") for index, measure in enumerate(measures)]
    return replace(begun.evaluator, own=named)(begun.baseline).metrics


def test_numbers_and_estimates_are_metrics(begun):
    estimate = Estimate(value=2.0, low=1.5, high=2.5, n=9)
    given = (3, 0.25, torch.tensor(1.5).item(), estimate)
    found = measured(begun, *(lambda candidate, value=value: value for value in given))
    assert [found[f"own_{index}"].value for index in range(4)] == [3.0, 0.25, 1.5, 2.0]
    assert found["own_3"] == estimate


def test_a_metric_receives_the_candidate(begun):
    seen = []

    def measure(candidate):
        seen.append(candidate)
        calls = candidate.session.time(3)
        assert len(calls.durations_ms) == 3
        return candidate.size_bytes

    found = measured(begun, measure)
    (candidate,) = seen
    assert candidate.model is begun.baseline
    assert candidate.example.shape == (1, 1, 8, 8)
    outputs = candidate.session.run(candidate.example.repeat(2, 1, 1, 1))
    assert outputs.shape == (2, 10)
    assert found["own_0"].value == found["size_bytes"].value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            math.nan,
            "ValueError: the metric 'own_0' is nan; expected a finite number",
        ),
        (math.inf, "is inf; expected a finite number"),
        (Estimate(value=1.0, n=1), None),
        (
            "much",
            "the metric 'own_0': TypeError: expected a number or an",
        ),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_number_is_refused(begun, value, message):
    if message is None:
        assert measured(begun, lambda candidate: value)["own_0"] is value
        return
    with pytest.raises(TrialError) as caught:
        measured(begun, lambda candidate: value)
    assert caught.value.stage == "measure"
    assert message in caught.value.reason


def test_an_exception_is_an_error_of_the_trial(begun):
    def measure(candidate):
        raise LookupError("no such scale")

    with pytest.raises(TrialError) as caught:
        measured(begun, measure)
    reason = "the metric 'own_0': LookupError: no such scale"
    assert (caught.value.stage, caught.value.reason) == ("measure", reason)


def test_all_that_a_run_knows_of_a_model(begun):
    found = begun.evaluator(begun.baseline)
    names = {"accuracy", "latency_ms", "parameters", "nonzero", "macs", "size_bytes"}
    assert set(found.metrics) == names
    assert found.metrics == begun.baseline_metrics
    assert set(found.seconds) == {"deploy", "evaluate", "measure"}
    assert found.latency.ratio == 1
    assert found.artifact.content is begun.baseline


def test_a_precision_that_the_target_lacks_fails_the_trial(begun):
    target = local_target("torch", device="cpu")
    evaluator = replace(begun.evaluator, target=target, benchmark=None)
    with pytest.raises(TrialError) as caught:
        evaluator(begun.baseline, "fp16")
    assert caught.value.stage == "deploy"


def test_what_is_scored_is_the_network_in_float32_and_else_the_deployed_model(begun):
    class Wrong:
        """A session that is always wrong."""

        def run(self, inputs):
            return -begun.baseline(inputs)

    data, task = begun.problem.data, begun.problem.task
    evaluator, right = begun.evaluator, evaluate(begun.baseline, data.valid, task)
    assert evaluator.score(begun.baseline, Wrong(), "fp32", data.valid) == right
    assert evaluator.score(begun.baseline, Wrong(), "fp16", data.valid) != right


def test_latency_is_paired_with_the_baseline(begun):
    target = type(begun.problem.target)()
    artifact = target.prepare(begun.baseline, "fp32", example=None, calibration=None)
    session = target.open(artifact, None)
    benchmark = LatencyBenchmark(target, session, begun.problem.effort, reference_ms=10.0)
    target.slowness = 1.5
    evaluator = replace(begun.evaluator, target=target, benchmark=benchmark)
    assert evaluator(begun.baseline).metrics["latency_ms"].value == pytest.approx(15.0)
