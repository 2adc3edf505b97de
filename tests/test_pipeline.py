import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from autocompress.errors import TrialError
from autocompress.graph import Plan, rebuild
from autocompress.pipeline import (
    STAGES,
    State,
    Work,
    compress,
    stages_after,
)
from autocompress.recipe import Recipe
from autocompress.techniques.analysis import analyze
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification, sparsify
from autocompress.testing.stages import check_stage
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Monitor, Training

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


def same_weights(one, other):
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def without_seconds(stages):
    return [replace(result, seconds=0.0) for result in stages]


@pytest.fixture(scope="module")
def baseline(trained_state):
    model = TinyVgg()
    model.load_state_dict(trained_state)
    return model.eval()


@pytest.fixture(scope="module")
def work(data, task, baseline):
    return Work(data=data, task=task, analysis=analyze(baseline, data.example), teacher=baseline)


@pytest.fixture(scope="module")
def states():
    """The states of the run in ``compressed``, by stage."""
    return {}


@pytest.fixture(scope="module")
def compressed(baseline, work, states):
    return compress(
        baseline, FULL, work, on_stage=lambda state: states.update({state.stage: state})
    )


@pytest.fixture
def score(work):
    def of(model):
        return evaluate(model, work.data.valid, work.task)[work.task.score.name].value

    return of


def test_all_stages_shrink_the_model_and_keep_its_accuracy(baseline, compressed, score):
    model = compressed.model
    assert model.features[0].out_channels == 6
    assert isinstance(model.features[1], nn.Identity)
    assert parameters(model) < parameters(baseline) / 2
    assert score(model) > score(baseline) - 0.1
    assert {r.stage for r in compressed.curve} == {"train", "recover"}
    assert all(result.seconds > 0 for result in compressed.stages)
    assert compressed.stage == STAGES[-1].name


def test_each_stage_tells_what_it_led_to(baseline, compressed, score):
    found = {result.stage: result for result in compressed.stages}
    assert list(found) == ["train", "prune", "factorize", "recover", "fold"]
    sizes = [result.parameters for result in found.values()]
    assert sizes[0] == parameters(baseline) > sizes[1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == parameters(compressed.model)
    ends = {record.stage: record.score for record in compressed.curve}
    assert found["train"].score == found["prune"].score == ends["train"]
    assert found["recover"].score == found["fold"].score == ends["recover"]
    assert found["fold"].score == pytest.approx(score(compressed.model), abs=1e-6)
    assert 0 < found["factorize"].score < 1
    assert found["train"].report[0] == "features.0: 50 % are zero"
    assert found["prune"].report[0] == "features.0: 6 of 12 units are removed"
    assert found["fold"].report[0] == "features.1: folded into features.0"
    assert found["fold"].steps == len(compressed.plan.steps)


def test_a_stage_that_was_not_evaluated_has_no_score(baseline, work):
    untrained = replace(FULL, factorization=None, training=Training(epochs=0, recovery_epochs=0))
    made = compress(baseline, untrained, work)
    assert {result.score for result in made.stages} == {None}


def test_the_baseline_is_not_touched(baseline, work, compressed):
    before = copy.deepcopy(baseline.state_dict())
    compress(baseline, FULL, work)
    assert all(torch.equal(before[name], t) for name, t in baseline.state_dict().items())


def test_what_nothing_was_asked_of_stays_as_it_is(baseline, work):
    nothing = Training(epochs=0, recovery_epochs=0)
    for more in ({}, {"pruning": Pruning()}, {"factorization": Factorization(rank=1.0)}):
        made = compress(baseline, Recipe(fold=False, training=nothing, **more), work).model
        same_weights(baseline, made)
        assert made is not baseline


class Kept(Monitor):
    """Keeps the network after some epochs of the first training run."""

    def __init__(self, *epochs):
        self.epochs, self.states = epochs, {}

    def epoch(self, record, model):
        if record.stage == "train" and record.epoch in self.epochs:
            self.states[record.epoch] = State(copy.deepcopy(model), stage="train")


def test_a_start_from_a_state_is_monitored(baseline, work):
    class Stopped(Monitor):
        def batch(self):
            raise KeyboardInterrupt

    start = State(baseline, stage="train")
    with pytest.raises(KeyboardInterrupt):
        compress(start, FULL, replace(work, monitor=Stopped()))


def test_a_recipe_repeats(baseline, work, compressed):
    again = compress(baseline, FULL, work)
    assert again.curve == compressed.curve
    assert without_seconds(again.stages) == without_seconds(compressed.stages)
    same_weights(again.model, compressed.model)


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_start_after_an_epoch_gives_what_its_recipe_gives(baseline, work, epoch):
    kept = Kept(epoch)
    compress(baseline, FULL, replace(work, monitor=kept))
    training = replace(FULL.training, recovery_epochs=1, stop_after=epoch)
    recipe = replace(FULL, training=training, factorization=None)
    derived = compress(kept.states[epoch], recipe, work)
    whole = compress(baseline, recipe, work)
    same_weights(derived.model, whole.model)
    assert derived.plan == whole.plan
    assert [record.stage for record in derived.curve] == ["recover"]
    assert len(whole.curve) == epoch + 1


@pytest.mark.parametrize("fold", [True, False])
def test_a_start_after_the_last_training_gives_what_its_recipe_gives(baseline, work, fold):
    plain = replace(FULL, factorization=None)
    states = {}
    first = compress(baseline, plain, work, on_stage=lambda s: states.update({s.stage: s}))
    trained = states["recover"]
    late = Factorization(energy=0.9, convolution_energy=0.9, min_rank=1)
    recipe = replace(plain, late_factorization=late, fold=fold)
    before = copy.deepcopy(trained.model.state_dict())
    cheap = compress(trained, recipe, work)
    whole = compress(baseline, recipe, work)
    assert (cheap.plan, cheap.curve) == (whole.plan, whole.curve)
    assert without_seconds(cheap.stages) == without_seconds(whole.stages)
    assert parameters(cheap.model) < parameters(first.model)
    same_weights(cheap.model, whole.model)
    assert all(torch.equal(before[name], t) for name, t in trained.model.state_dict().items())


def test_every_state_is_left_as_it_was(compressed, states):
    """What a caller keeps of a stage is not changed by the stages after it."""
    sizes = [parameters(states[result.stage].model) for result in compressed.stages]
    assert sizes == [result.parameters for result in compressed.stages]


def test_plan_and_weights_rebuild_the_model(work, compressed):
    fresh = TinyVgg()
    rebuild(fresh, Plan.from_json(compressed.plan.to_json()))
    fresh.load_state_dict(compressed.model.state_dict())
    with torch.no_grad():
        expected = compressed.model(work.data.example)
        assert torch.equal(fresh.eval()(work.data.example), expected)


@pytest.mark.parametrize("stage", ["recover", "fold"])
def test_a_compressed_model_is_a_start(work, compressed, states, stage):
    """Its descendant is rebuilt from the baseline's factory, one plan and the weights."""
    kept = states[stage]
    start = State(kept.model, kept.plan)
    made = compress(start, replace(FULL, factorization=None), work)
    assert parameters(made.model) < parameters(kept.model)
    assert made.plan.steps[: len(kept.plan.steps)] == kept.plan.steps
    fresh = TinyVgg()
    rebuild(fresh, Plan.from_json(made.plan.to_json()))
    fresh.load_state_dict(made.model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(work.data.example), made.model(work.data.example))


def test_a_compressed_model_is_a_baseline_like_any_other(work, compressed, data):
    """Release 0.1 kept the plan in the model, and replayed it twice."""
    recipe = Recipe(
        sparsification=Sparsification(sparsity=0.5), pruning=Pruning(),
        training=Training(epochs=0, recovery_epochs=0),
    )  # fmt: skip
    small = compressed.model
    made = compress(small, recipe, replace(work, analysis=analyze(small, data.example)))
    assert len(made.plan.steps) == 1
    fresh = copy.deepcopy(small)
    rebuild(fresh, made.plan)
    fresh.load_state_dict(made.model.state_dict())


def test_an_empty_recipe_gives_the_baseline_back(baseline, work):
    recipe = Recipe(fold=False, training=Training(epochs=0, recovery_epochs=1))
    same = compress(baseline, recipe, work)
    assert same.plan.steps == ()
    assert parameters(same.model) == parameters(baseline)


def test_without_training_batch_norms_are_reestimated(baseline, work):
    sparse = Sparsification(sparsity=0.25)
    recipe = Recipe(
        sparsification=sparse,
        pruning=Pruning(),
        fold=False,
        training=Training(epochs=0, recovery_epochs=0),
    )
    model = compress(baseline, recipe, work).model
    assert model.features[0].out_channels == 9
    old = baseline.features[5].running_mean
    assert model.features[5].running_mean.shape == (18,)
    assert not set(model.features[5].running_mean.tolist()) <= set(old.tolist())


def test_remaining_zeros_survive_the_recovery(baseline, work):
    recipe = Recipe(
        sparsification=Sparsification(sparsity=0.5, granularity="weight"),
        pruning=Pruning(),
        fold=False,
        training=Training(epochs=1, recovery_epochs=1),
    )
    weight = compress(baseline, recipe, work).model.features[4].weight
    assert (weight == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_dry_run_has_the_widths_of_the_candidate(baseline, work, compressed):
    sketch = compress(baseline, FULL, replace(work, dry=True))
    assert parameters(sketch.model) == parameters(compressed.model)
    assert sketch.curve == ()
    assert {result.score for result in sketch.stages} == {None}


def test_a_failing_stage_is_named(baseline, work):
    broken_net = copy.deepcopy(baseline)
    broken_net.head.bias.data[0] = float("nan")
    with pytest.raises(TrialError) as caught:
        compress(broken_net, Recipe(training=Training(epochs=1)), work)
    assert caught.value.stage == "train"
    assert "NaN" in caught.value.reason


def test_the_network_itself_teaches_where_no_teacher_is_given(baseline, work, compressed):
    alone = compress(baseline, FULL, replace(work, teacher=None))
    same_weights(alone.model, compressed.model)


# ---- the contract of every stage


LATE = replace(FULL, late_factorization=Factorization(energy=0.9, min_rank=1))


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
@pytest.mark.parametrize("dry", [True, False])
def test_a_stage_keeps_its_contract(stage, dry, baseline, work):
    (stage,) = (known for known in STAGES if known.name == stage)
    sparse, _ = sparsify(baseline, FULL.sparsification, units=work.analysis.units)
    check_stage(stage, State(sparse), LATE, replace(work, dry=dry), build=TinyVgg)


def test_the_stages_after_one_are_the_rest():
    assert stages_after(None) == STAGES
    assert [stage.name for stage in stages_after("recover")] == ["factorize_late", "fold"]
