from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest

from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.search.drafting import is_exact, make_draft
from autocompress.search.limits import Limits
from autocompress.search.objective import Objective
from autocompress.search.workbench import OBJECTIVES, Economy
from autocompress.techniques.anatomy import examine
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

THIN = Recipe(
    sparsification=Sparsification(sparsity=0.5, linear_sparsity=0.25, schedule="linear"),
    pruning=Pruning(),
    factorization=Factorization(rank=0.25, min_rank=1),
    training=Training(epochs=1, recovery_epochs=0, learning_rate=1e-2),
)


@pytest.mark.parametrize("criterion", ["large_final", "movement", "taylor"])
def test_with_a_local_scope_training_leads_to_the_drafted_size(batches, trained_vgg, criterion):
    recipe = replace(THIN, sparsification=replace(THIN.sparsification, criterion=criterion))
    anatomy = examine(trained_vgg, batches.example)
    drafted = make_draft(trained_vgg, recipe, batches.example, anatomy, None)
    trained = compress(trained_vgg, recipe, batches, anatomy=anatomy)
    assert drafted.exact
    assert drafted.latency_ms is None
    assert drafted.parameters == sum(p.numel() for p in trained.model.parameters())


@pytest.mark.parametrize(
    ("change", "exact"),
    [
        ({}, True),
        ({"scope": "global"}, False),
        ({"granularity": "weight"}, False),
        ({"linear_granularity": "column"}, False),
        ({"granularity": "weight", "sparsity": 0.0}, True),
    ],
)
def test_a_draft_says_whether_it_is_exact(change, exact):
    recipe = replace(THIN, sparsification=replace(THIN.sparsification, **change))
    assert is_exact(recipe) is exact
    assert is_exact(replace(recipe, pruning=None))


def test_ranks_by_energy_depend_on_the_weights():
    assert not is_exact(replace(THIN, factorization=Factorization(energy=0.9)))


def test_a_latency_must_break_a_limit_clearly():
    limits = Limits(parameter_ratio=0.5, latency_ratio=0.5)
    assert limits.surely_broken({"parameter_ratio": 0.51})
    assert not limits.surely_broken({"latency_ratio": 0.54})
    told = limits.surely_broken({"latency_ratio": 0.6, "parameter_ratio": 0.6})
    assert told == "latency_ratio 0.6 (at most 0.5), parameter_ratio 0.6 (at most 0.5)"


@pytest.fixture
def bench(batches, trained_vgg):
    """As much of a workbench as drafts need."""
    return SimpleNamespace(
        baseline=trained_vgg,
        baseline_metrics={"accuracy": 0.95, "latency_ms": 2.0, "parameters": 10_000},
        batches=batches,
        anatomy=examine(trained_vgg, batches.example),
        ruler=None,
        limits=Limits(parameter_ratio=0.01),
        economy=Economy(early_stopping=False),
        folder=None,
        constraints=lambda metrics: {},
        is_feasible=None,
    )


def test_a_stopped_trial_stands_for_the_best_that_it_could_reach(bench):
    recipe = replace(THIN, sparsification=replace(THIN.sparsification, scope="global"))
    size = make_draft(
        bench.baseline, recipe, bench.batches.example, bench.anatomy, None
    ).parameters
    facts = {
        "recipe": recipe.to_dict(), "metrics": {"accuracy": 0.2}, "stopped": {"bound": 0.7}
    }  # fmt: skip
    stands_for = Objective(None, bench).stand_in(SimpleNamespace(user_attrs=facts))
    assert stands_for == (0.7, 2.0, size)  # nothing measured a latency
    assert size < 10_000


@pytest.mark.parametrize("scope", ["local", "global"])
def test_only_an_exact_draft_refuses_a_recipe(bench, scope):
    recipe = replace(THIN, sparsification=replace(THIN.sparsification, scope=scope))
    trial = optuna.create_study(directions=[*OBJECTIVES.values()]).ask()
    if scope == "local":
        with pytest.raises(optuna.TrialPruned, match="a draft of it is over the limit"):
            Objective(None, bench)._draft(trial, recipe)
    else:
        assert Objective(None, bench)._draft(trial, recipe) is None
