from dataclasses import replace
from itertools import pairwise

import pytest

from autocompress.recipe import Recipe
from autocompress.search.offshoots import MOST, affordable, offshoots
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.schedules import SCHEDULES
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

LONG = Recipe(
    sparsification=Sparsification(sparsity=0.8, schedule="linear"),
    training=Training(epochs=8, recovery_epochs=2),
)


def test_levels_on_the_way_and_lower_ranks_share_the_training():
    found = offshoots(LONG)
    assert len(found) == MOST
    levels = [one for one in found if one.recipe.training.stop_after is not None]
    ranks = [one for one in found if one.recipe.factorization is not None]
    assert [one.epoch for one in levels] == [7, 6]
    assert [one.fraction for one in levels] == pytest.approx([7 / 8, 6 / 8])
    assert [one.recipe.factorization.rank for one in ranks] == [0.5]
    assert all(one.recipe.training.recovery_epochs == 0 for one in found)
    assert all(one.recipe.sparsification == LONG.sparsification for one in found)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_differ_from_the_end_and_from_each_other(schedule):
    recipe = replace(LONG, sparsification=replace(LONG.sparsification, schedule=schedule))
    levels = [1.0] + [
        one.fraction for one in offshoots(recipe) if one.recipe.training.stop_after is not None
    ]
    assert all(a - b >= 0.1 - 1e-12 for a, b in pairwise(levels))
    if schedule in ("one_shot", "dsd"):  # nothing between dense and its end
        assert levels == [1.0]


def test_what_cannot_be_shared_is_left_out():
    stopped = replace(LONG, training=replace(LONG.training, stop_after=3))
    untrained = replace(LONG, training=replace(LONG.training, epochs=0))
    rewound = replace(LONG, sparsification=replace(LONG.sparsification, end=0.5, rewind=0.1))
    by_energy = replace(LONG, factorization=Factorization(energy=0.9))
    assert offshoots(stopped) == offshoots(untrained) == []
    assert all(one.recipe.training.stop_after is None for one in offshoots(rewound))
    assert all(one.recipe.factorization == by_energy.factorization for one in offshoots(by_energy))


def test_ranks_go_below_the_recipes_own():
    low = replace(LONG, factorization=Factorization(rank=0.3, convolution_rank=0.5))
    kept = [one.recipe.factorization for one in offshoots(low) if one.epoch == 8]
    assert kept == [Factorization(rank=0.25, convolution_rank=0.5)]


def test_a_harvest_costs_at_most_a_tenth_of_its_trial():
    found = offshoots(LONG)
    assert affordable(found, trial_s=100, each_s=4) == found[:2]
    assert affordable(found, trial_s=100, each_s=11) == []
    assert affordable(found, trial_s=1000, each_s=1) == found


def test_what_is_harvested_keeps_the_precision():
    assert {one.recipe.precision for one in offshoots(replace(LONG, precision="int8"))} == {"int8"}
