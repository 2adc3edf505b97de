import copy
import math
from dataclasses import replace

import pytest
import torch

from autocompress.metrics import Estimate, Metric
from autocompress.testing.metrics import check_metric

from made_up_runs import ACCURACY, ENERGY
from small_studies import MadeUpTarget
from tiny_models import TinyVgg

MODEL, EXAMPLE = TinyVgg().eval(), torch.zeros(1, 1, 8, 8)


def measuring(value, **description):
    facts = {"name": "mine", "direction": "minimize", "measure": lambda _: value, **description}
    return Metric(**facts)


@pytest.mark.parametrize("metric", [ACCURACY, ENERGY, measuring(1.0, unit="layers")])
def test_descriptions_that_are_complete_pass(metric):
    check_metric(metric)


@pytest.mark.parametrize(
    "metric",
    [
        measuring(3, format="count"),
        measuring(Estimate(value=0.5, low=0.4, high=0.6, n=10), format="fraction"),
        measuring(-2.5, comparison="difference", direction="maximize"),
    ],
)
def test_metrics_that_measure_well_pass(metric):
    check_metric(metric, MODEL, EXAMPLE)


def test_a_metric_receives_the_model_where_it_is_deployed():
    seen = []

    def measure(candidate):
        seen.append((candidate.session.run(candidate.example), candidate.size_bytes))
        return 1.0

    metric = replace(measuring(1.0), measure=measure)
    check_metric(metric, MODEL, EXAMPLE.repeat(3, 1, 1, 1))
    check_metric(metric, MODEL, EXAMPLE, target=MadeUpTarget())
    (three, size_bytes), (one, _) = seen
    assert (three.shape, one.shape) == ((3, 10), (1, 10))
    assert size_bytes > 4 * sum(weight.numel() for weight in MODEL.parameters())


def change(candidate):
    next(candidate.model.parameters()).data.add_(1)
    return 1.0


def train(candidate):
    candidate.model.train()
    return 1.0


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (replace(ENERGY, name="macs"), "every run has"),
        (replace(ENERGY, ratio_name="latency_ratio"), "latency_ratio is the name of another"),
        (replace(ENERGY, drop_name="energy_mj"), "same name twice"),
        (replace(ENERGY, pick="balanced"), "'balanced'"),
        (replace(ENERGY, measure=None), "no function that measures"),
        (measuring(math.nan), "finite"),
        (measuring(math.inf), "finite"),
        (measuring("fast"), "a number or an Estimate"),
        (measuring(value=True), "True; expected a number"),
        (measuring(1.5, format="fraction"), "between 0 and 1"),
        (measuring(-1, format="count"), "0 or more"),
        (measuring(Estimate(value=1.0, low=2.0, high=3.0)), "outside of its interval"),
        (replace(measuring(1.0), measure=change), "changed the model: "),
        (replace(measuring(1.0), measure=train), "another mode"),
    ],
)
def test_what_breaks_the_contract_is_named(metric, message):
    with pytest.raises(AssertionError, match=message):
        check_metric(metric, copy.deepcopy(MODEL), EXAMPLE)
