from dataclasses import replace
from itertools import pairwise

import pytest

from autocompress.callbacks.derivation import (
    ENERGIES,
    MOST,
    KeepStates,
    derive,
    lower_ranks,
    promising,
    sparsity_levels,
)
from autocompress.graph import LowRank, Plan
from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.recipe_text import recipe_in_short
from autocompress.results import EpochRecord
from autocompress.runs import layout
from autocompress.runs.store import load_state
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.schedules import SCHEDULES
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Monitor, Training
from autocompress.trial import run_trial

LONG = Recipe(
    sparsification=Sparsification(sparsity=0.8, schedule="linear"),
    training=Training(epochs=8, recovery_epochs=2),
)


def record(stage, epoch, score):
    return EpochRecord(stage=stage, epoch=epoch, train_loss=0.1, valid_loss=0.1, score=score)


def test_levels_on_the_way_share_the_training():
    found = sparsity_levels(LONG)
    assert len(found) == MOST
    assert [one.epoch for one in found] == [7, 6, 5]
    assert [one.fraction for one in found] == pytest.approx([7 / 8, 6 / 8, 5 / 8])
    assert [one.recipe.training.stop_after for one in found] == [7, 6, 5]
    assert all(one.recipe.training.recovery_epochs == 0 for one in found)
    assert all(one.recipe.sparsification == LONG.sparsification for one in found)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_differ_from_the_end_and_from_each_other(schedule):
    recipe = replace(LONG, sparsification=replace(LONG.sparsification, schedule=schedule))
    fractions = [1.0] + [one.fraction for one in sparsity_levels(recipe)]
    assert all(a - b >= 0.1 - 1e-12 for a, b in pairwise(fractions))
    if schedule in ("one_shot", "dsd"):  # nothing between dense and its end
        assert fractions == [1.0]


def test_where_there_are_no_sparsity_levels():
    stopped = replace(LONG, training=replace(LONG.training, stop_after=3))
    untrained = replace(LONG, training=replace(LONG.training, epochs=0))
    rewound = replace(LONG, sparsification=replace(LONG.sparsification, end=0.5, rewind=0.1))
    dense = replace(LONG, sparsification=None)
    assert (
        sparsity_levels(stopped)
        == sparsity_levels(untrained)
        == sparsity_levels(rewound)
        == sparsity_levels(dense)
        == []
    )


def test_only_levels_that_were_better_than_the_end_are_worth_it():
    scores = [0.95, 0.94, 0.93, 0.92, 0.91, 0.7, 0.6, 0.5]
    curve = tuple(record("train", number, score) for number, score in enumerate(scores, start=1))
    ends = [record("recover", 1, score) for score in (0.65, 0.99)]
    assert [one.epoch for one in promising(sparsity_levels(LONG), (*curve, ends[0]))] == [6, 5]
    assert promising(sparsity_levels(LONG), (*curve, ends[1])) == []
    less_is_better = promising(sparsity_levels(LONG), (*curve, ends[0]), sign=1)
    assert [one.epoch for one in less_is_better] == [7]


def test_lower_ranks_share_all_training():
    found = lower_ranks(LONG, Plan(), ("head.*",))
    assert [one.epoch for one in found] == [None, None]
    late = [one.recipe.late_factorization for one in found]
    assert [(one.energy, one.convolution_energy) for one in late] == [(e, e) for e in ENERGIES]
    assert {one.exclude for one in late} == {("head.*",)}
    assert all(replace(one.recipe, late_factorization=None) == LONG for one in found)


def test_what_is_factorized_is_not_factorized_again():
    assert lower_ranks(LONG, Plan((LowRank("classifier.0", "linear", 4),)), ()) == []


def test_what_is_derived_keeps_the_precision():
    precise = replace(LONG, precision="int8")
    found = [*lower_ranks(precise, Plan(), ()), *sparsity_levels(precise)]
    assert {one.recipe.precision for one in found} == {"int8"}


STEEP = Recipe(
    sparsification=Sparsification(sparsity=0.8, linear_sparsity=0.8, schedule="linear"),
    pruning=Pruning(),
    training=Training(epochs=4, recovery_epochs=0, learning_rate=1e-2),
    fold=True,
)


@pytest.fixture(scope="module")
def trained(begun, tmp_path_factory):
    """A trial, and what it kept of its training run."""
    context = replace(begun, folder=tmp_path_factory.mktemp("parent"))
    epochs = {level.epoch for level in sparsity_levels(STEEP)}
    kept = KeepStates(epochs, context.start)
    return run_trial(STEEP, context, [kept], name="00007"), kept


def derived(trained, context, *, seconds=1e9, best=True):
    result, kept = trained
    options = {"name": "00007", "seconds": seconds, "best": best}
    return derive(STEEP, result, kept, context, **options)


def test_a_training_run_yields_more_than_one_candidate(trained, context):
    parent, found = trained[0], list(derived(trained, context))
    late = [r for r in found if r.recipe["late_factorization"]]
    levels = [r for r in found if r.recipe["training"]["stop_after"]]
    assert found == [*late, *levels]  # the mildest ranks first, then levels from the highest down
    assert levels
    sizes = [result.metrics["parameters"].value for result in (parent, *found)]
    assert len(set(sizes)) == len(sizes)
    for result in found:
        assert result.state == "complete"
        assert result.folder.startswith("00007.")
        assert layout.trial_folder(context.folder, result.folder).is_dir()
    for result in late:
        assert result.fraction == 1.0
        assert result.metrics["parameters"].value < parent.metrics["parameters"].value
        assert "late energy" in recipe_in_short(result.recipe)
    for result in levels:
        assert 0 < result.fraction < 1
        assert result.metrics["parameters"].value > parent.metrics["parameters"].value
        assert "left after epoch" in recipe_in_short(result.recipe)


def test_a_derived_recipe_gives_the_same_model_when_it_is_run_from_the_start(trained, context):
    result = next(derived(trained, context, best=False))
    alone = compress(context.start, Recipe.from_dict(result.recipe), context.work())
    folder = layout.trial_folder(context.folder, result.folder)
    shared = load_state(folder, context.problem.model.structure())
    assert shared.plan == alone.plan
    state = alone.model.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in shared.model.state_dict().items())


def test_without_time_nothing_is_derived(trained, context):
    assert list(derived(trained, context, seconds=0.0)) == []


def test_lower_ranks_are_only_tried_of_the_best(trained, context):
    found = derived(trained, context, best=False)
    assert all(result.recipe["late_factorization"] is None for result in found)


def test_a_request_to_stop_ends_deriving(trained, context):
    class Stopped(Monitor):
        def batch(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(derived(trained, replace(context, monitor=Stopped())))
    assert not (context.folder / layout.TRIALS).exists()
