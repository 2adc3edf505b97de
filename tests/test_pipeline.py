import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from autocompress.errors import TrialError
from autocompress.graph import Plan, rebuild
from autocompress.pipeline import KeepTrunks, branch, compress, draft, refinish
from autocompress.recipe import Recipe
from autocompress.techniques.anatomy import examine
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Follower, Training

from tiny_models import TinyVgg

FULL = Recipe(
    distillation=Distillation(),
    sparsification=Sparsification(sparsity=0.5, linear_sparsity=0.5, end=0.6),
    pruning=Pruning(),
    factorization=Factorization(rank=0.25),
    fold=True,
    training=Training(epochs=3, recovery_epochs=2, learning_rate=1e-2),
)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def compressed(batches, trained_state):
    baseline = TinyVgg()
    baseline.load_state_dict(trained_state)
    return compress(baseline.eval(), FULL, batches)


def test_all_five_stages_shrink_the_model_and_keep_its_accuracy(batches, trained_vgg, compressed):
    model = compressed.model
    assert model.features[0].out_channels == 6
    assert isinstance(model.features[1], nn.Identity)
    assert parameters(model) < parameters(trained_vgg) / 2
    before = evaluate(trained_vgg, batches.valid).accuracy
    assert evaluate(model, batches.valid).accuracy > before - 0.1
    assert {r.stage for r in compressed.curve} == {"sparsify", "recover"}
    stages = {"sparsify", "prune", "factorize", "recover", "fold"}
    assert set(compressed.seconds) == {*stages, "evaluate"}


def test_each_stage_tells_what_it_led_to(batches, trained_vgg, compressed):
    found = {result.stage: result for result in compressed.stages}
    assert list(found) == ["sparsify", "prune", "factorize", "recover", "fold"]
    sizes = [result.parameters for result in found.values()]
    assert sizes[0] == parameters(trained_vgg) > sizes[1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == parameters(compressed.model)
    ends = {record.stage: record.accuracy for record in compressed.curve}
    assert found["sparsify"].accuracy == found["prune"].accuracy == ends["sparsify"]
    assert found["recover"].accuracy == found["fold"].accuracy == ends["recover"]
    accuracy = evaluate(compressed.model, batches.valid).accuracy
    assert found["fold"].accuracy == pytest.approx(accuracy, abs=1e-6)
    assert 0 < found["factorize"].accuracy < 1


def test_a_stage_that_was_not_evaluated_has_no_accuracy(batches, trained_vgg):
    untrained = replace(FULL, factorization=None, training=Training(epochs=0, recovery_epochs=0))
    made = compress(trained_vgg, untrained, batches)
    assert {result.accuracy for result in made.stages} == {None}


def test_the_baseline_is_not_touched(batches, trained_vgg):
    before = copy.deepcopy(trained_vgg.state_dict())
    compress(trained_vgg, FULL, batches)
    assert all(torch.equal(before[name], t) for name, t in trained_vgg.state_dict().items())


def test_what_nothing_was_asked_of_stays_as_it_is(batches, trained_vgg):
    nothing = Training(epochs=0, recovery_epochs=0)
    for more in ({}, {"pruning": Pruning()}, {"factorization": Factorization(rank=1.0)}):
        made = compress(trained_vgg, Recipe(fold=False, training=nothing, **more), batches).model
        pairs = zip(trained_vgg.state_dict().values(), made.state_dict().values(), strict=True)
        assert all(torch.equal(before, after) for before, after in pairs)


def test_a_branch_is_followed(batches, trained_vgg):
    class Stopped(Follower):
        def batch(self):
            raise KeyboardInterrupt

    anatomy, trunk = examine(trained_vgg, batches.example), trained_vgg.state_dict()
    with pytest.raises(KeyboardInterrupt):
        branch(trained_vgg, FULL, trunk, batches, anatomy=anatomy, follower=Stopped())


def test_a_recipe_repeats(batches, trained_vgg, compressed):
    again = compress(trained_vgg, FULL, batches)
    first, second = compressed.model.state_dict(), again.model.state_dict()
    assert again.curve == compressed.curve
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_branch_gives_what_its_recipe_gives(batches, trained_vgg, epoch):
    anatomy = examine(trained_vgg, batches.example)
    keeper = KeepTrunks({epoch}, Follower())
    compress(trained_vgg, FULL, batches, anatomy=anatomy, follower=keeper)
    training = replace(FULL.training, recovery_epochs=1, stop_after=epoch)
    recipe = replace(FULL, training=training, factorization=None)
    branched = branch(trained_vgg, recipe, keeper.trunks[epoch], batches, anatomy=anatomy)
    whole = compress(trained_vgg, recipe, batches, anatomy=anatomy)
    first, second = branched.model.state_dict(), whole.model.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [record.stage for record in branched.curve] == ["recover"]
    assert len(whole.curve) == epoch + 1


@pytest.mark.parametrize("fold", [True, False])
def test_a_trained_network_finishes_as_its_recipe_does(batches, trained_vgg, fold):
    anatomy = examine(trained_vgg, batches.example)
    plain = replace(FULL, factorization=None)
    first = compress(trained_vgg, plain, batches, anatomy=anatomy)
    late = Factorization(energy=0.9, convolution_energy=0.9, min_rank=1)
    recipe = replace(plain, late_factorization=late, fold=fold)
    before = copy.deepcopy(first.trained.state_dict())
    cheap = refinish(first, recipe, batches, anatomy=anatomy)
    whole = compress(trained_vgg, recipe, batches, anatomy=anatomy)
    assert (cheap.plan, cheap.curve) == (whole.plan, whole.curve)
    assert cheap.stages == whole.stages
    assert parameters(cheap.model) < parameters(first.model)
    found, expected = cheap.model.state_dict(), whole.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert all(torch.equal(before[name], t) for name, t in first.trained.state_dict().items())


def test_plan_and_weights_rebuild_the_model(batches, compressed):
    fresh = TinyVgg()
    rebuild(fresh, Plan.from_json(compressed.plan.to_json()))
    fresh.load_state_dict(compressed.model.state_dict())
    with torch.no_grad():
        expected = compressed.model(batches.example)
        assert torch.equal(fresh.eval()(batches.example), expected)


def test_an_empty_recipe_gives_the_baseline_back(batches, trained_vgg):
    recipe = Recipe(fold=False, training=Training(epochs=0, recovery_epochs=1))
    same = compress(trained_vgg, recipe, batches)
    assert same.plan.steps == ()
    assert parameters(same.model) == parameters(trained_vgg)


def test_without_training_batch_norms_are_reestimated(batches, trained_vgg):
    sparse = Sparsification(sparsity=0.25)
    recipe = Recipe(
        sparsification=sparse,
        pruning=Pruning(),
        fold=False,
        training=Training(epochs=0, recovery_epochs=0),
    )
    result = compress(trained_vgg, recipe, batches)
    assert result.model.features[0].out_channels == 9
    old = trained_vgg.features[5].running_mean
    assert result.model.features[5].running_mean.shape == (18,)
    assert not set(result.model.features[5].running_mean.tolist()) <= set(old.tolist())


def test_remaining_zeros_survive_the_recovery(batches, trained_vgg):
    recipe = Recipe(
        sparsification=Sparsification(sparsity=0.5, granularity="weight"),
        pruning=Pruning(),
        fold=False,
        training=Training(epochs=1, recovery_epochs=1),
    )
    weight = compress(trained_vgg, recipe, batches).model.features[4].weight
    assert (weight == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_draft_has_the_widths_of_the_candidate(batches, trained_vgg, compressed):
    anatomy = examine(trained_vgg, batches.example)
    sketch = draft(trained_vgg, FULL, batches.example, anatomy)
    assert parameters(sketch) == parameters(compressed.model)


def test_a_failing_stage_is_named(batches, trained_vgg):
    recipe = Recipe(training=Training(epochs=1, learning_rate=1e30))
    with pytest.raises(TrialError) as caught:
        compress(trained_vgg, recipe, batches)
    assert caught.value.stage == "sparsify"
    assert "NaN" in caught.value.reason
