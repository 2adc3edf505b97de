"""Structures before training: their size, their latency, and which of them end a trial."""

from dataclasses import replace

import pytest

from autocompress.callbacks.estimate import EstimateStructure, estimate_structure, is_exact
from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training
from autocompress.trial import PrunedError

from small_studies import limited

THIN = Recipe(
    sparsification=Sparsification(sparsity=0.5, linear_sparsity=0.25, schedule="linear"),
    pruning=Pruning(),
    factorization=Factorization(rank=0.25, min_rank=1),
    training=Training(epochs=1, recovery_epochs=0, learning_rate=1e-2),
)


def thin(**changes):
    return replace(THIN, sparsification=replace(THIN.sparsification, **changes))


@pytest.mark.parametrize("criterion", ["large_final", "movement", "taylor"])
def test_with_a_local_scope_training_leads_to_the_estimated_size(begun, criterion):
    recipe = thin(criterion=criterion)
    estimated = estimate_structure(recipe, begun, latency=False)
    trained = compress(begun.start, recipe, begun.work())
    assert estimated.exact
    assert set(estimated.metrics) == {"parameters", "nonzero", "macs"}
    size = sum(parameter.numel() for parameter in trained.model.parameters())
    assert estimated.metrics["parameters"].value == size < 4000


@pytest.mark.parametrize(
    ("change", "exact"),
    [
        ({}, True),
        ({"scope": "global"}, False),
        ({"granularity": "weight"}, False),
        ({"linear_granularity": "column"}, False),
        ({"granularity": "weight", "sparsity": 0.0}, True),
        ({"granularity": "weight", "sparsity": (0.0, 0.1, 0.0)}, False),
        ({"granularity": "weight", "sparsity": {"0.0": 0.0}}, True),
    ],
)
def test_an_estimate_says_whether_it_is_exact(change, exact):
    recipe = thin(**change)
    assert is_exact(recipe) is exact
    assert is_exact(replace(recipe, pruning=None))


def test_ranks_by_energy_depend_on_the_weights():
    assert not is_exact(replace(THIN, factorization=Factorization(energy=0.9)))
    assert not is_exact(replace(THIN, late_factorization=Factorization(energy=0.9)))


def test_a_latency_is_measured_where_it_is_wanted_and_quickly_made(begun):
    found = estimate_structure(THIN, begun, latency=True).metrics
    assert found["latency_ms"].value == pytest.approx(found["parameters"].value / 1000)
    unknown = estimate_structure(replace(THIN, precision="int8"), begun, latency=True).metrics
    assert "latency_ms" not in unknown

    class Slow(type(begun.problem.target)):
        quick = False

    slow = replace(begun, problem=replace(begun.problem, target=Slow()))
    assert "latency_ms" not in estimate_structure(THIN, slow, latency=True).metrics


@pytest.mark.parametrize("scope", ["local", "global"])
def test_only_an_exact_estimate_refuses_a_recipe(begun, scope):
    context = limited(begun, parameter_ratio=0.01)
    estimate = EstimateStructure(context, context.start, for_stopping=False)
    if scope == "global":
        estimate.begin(thin(scope=scope))
        assert estimate.found is None
        return
    with pytest.raises(PrunedError, match="estimate of its structure is over the limit") as caught:
        estimate.begin(thin(scope=scope))
    assert caught.value.failure.stage == "estimate"
    assert caught.value.metrics["parameters"].value > 0
    assert "latency_ms" not in caught.value.metrics


@pytest.mark.parametrize(
    ("limits", "for_stopping", "known"),
    [
        ({}, False, None),
        ({"accuracy_drop": 0.5}, False, None),
        ({"parameter_ratio": 1.0}, False, {"parameters"}),
        ({"latency_ms": 99.0}, False, {"parameters", "latency_ms"}),
        ({}, True, {"parameters", "latency_ms"}),
    ],
)
def test_nothing_is_estimated_that_saves_nothing(begun, limits, for_stopping, known):
    context = limited(begun, **limits)
    estimate = EstimateStructure(context, context.start, for_stopping=for_stopping)
    estimate.begin(THIN)
    found = None if estimate.found is None else estimate.found.metrics.keys()
    assert (found and found & {"parameters", "latency_ms"}) == known
