"""What becomes of one model's numbers: none that cannot be compared or stored."""

import dataclasses

import pytest
import torch

from autocompress.context import evaluator_of
from autocompress.errors import TrialError
from autocompress.metrics import Metric
from autocompress.problem import problem_from, sizes_for_models
from autocompress.tasks import Mean

from small_studies import MadeUpTarget, study_in


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    problem = problem_from(study_in(tmp_path_factory.mktemp("study")))
    model = problem.model.initial().eval()
    target = MadeUpTarget()
    return dataclasses.replace(evaluator_of(problem), target=target), model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_finite_number_fails_the_trial(evaluator, value):
    evaluator, model = evaluator
    metric = Metric(name="odd", direction="minimize")
    odd = Mean(lambda outputs, targets: torch.full([len(targets)], value), metric)
    task = dataclasses.replace(evaluator.task, scores=(odd,))
    with pytest.raises(TrialError, match=f"evaluate: .*'odd' is {value}"):
        dataclasses.replace(evaluator, task=task)(model)


def test_a_metric_that_raises_fails_the_trial(evaluator):
    evaluator, model = evaluator

    def broken(candidate):
        raise KeyError("joules")

    energy = Metric(name="energy_mj", direction="minimize", measure=broken)
    with pytest.raises(TrialError, match="measure: the metric 'energy_mj': KeyError: 'joules'"):
        dataclasses.replace(evaluator, own=(energy,))(model)


def test_a_session_that_cannot_be_closed_fails_the_trial(evaluator):
    evaluator, model = evaluator

    class Stuck(MadeUpTarget):
        def open(self, artifact, example):
            session = super().open(artifact, example)
            session.close = self.fail
            return session

        def fail(self):
            raise ConnectionError("the device is gone")

    with pytest.raises(TrialError, match="measure: ConnectionError: the device is gone"):
        dataclasses.replace(evaluator, target=Stuck())(model)


@pytest.mark.parametrize(
    ("shape", "channels"), [((4, 3, 8, 8), 3), ((4, 20), None), ((4, 12, 7), None), ((4,), None)]
)
def test_only_images_have_channels_that_a_model_is_fitted_to(shape, channels):
    class Inputs:
        example = torch.zeros(shape)

        def describe(self):
            return {}

    assert sizes_for_models(Inputs()) == {"num_classes": None, "channels": channels}
