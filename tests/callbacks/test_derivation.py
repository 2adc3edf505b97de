from dataclasses import replace
from itertools import pairwise

import pytest

from autocompress.graph import LowRank, Plan
from autocompress.recipe import Recipe
from autocompress.search.offshoots import (
    ENERGIES,
    MOST,
    levels,
    lower_ranks,
    promising,
)
from autocompress.techniques.schedules import SCHEDULES
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import EpochRecord, Training

LONG = Recipe(
    sparsification=Sparsification(sparsity=0.8, schedule="linear"),
    training=Training(epochs=8, recovery_epochs=2),
)


def test_levels_on_the_way_share_the_training():
    found = levels(LONG)
    assert len(found) == MOST
    assert [one.epoch for one in found] == [7, 6, 5]
    assert [one.fraction for one in found] == pytest.approx([7 / 8, 6 / 8, 5 / 8])
    assert [one.recipe.training.stop_after for one in found] == [7, 6, 5]
    assert all(one.recipe.training.recovery_epochs == 0 for one in found)
    assert all(one.recipe.sparsification == LONG.sparsification for one in found)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_differ_from_the_end_and_from_each_other(schedule):
    recipe = replace(LONG, sparsification=replace(LONG.sparsification, schedule=schedule))
    fractions = [1.0] + [one.fraction for one in levels(recipe)]
    assert all(a - b >= 0.1 - 1e-12 for a, b in pairwise(fractions))
    if schedule in ("one_shot", "dsd"):  # nothing between dense and its end
        assert fractions == [1.0]


def test_where_there_are_no_levels():
    stopped = replace(LONG, training=replace(LONG.training, stop_after=3))
    untrained = replace(LONG, training=replace(LONG.training, epochs=0))
    rewound = replace(LONG, sparsification=replace(LONG.sparsification, end=0.5, rewind=0.1))
    dense = replace(LONG, sparsification=None)
    assert levels(stopped) == levels(untrained) == levels(rewound) == levels(dense) == []


def test_only_levels_that_were_more_accurate_than_the_end_are_worth_it():
    accuracies = [0.95, 0.94, 0.93, 0.92, 0.91, 0.7, 0.6, 0.5]
    curve = tuple(
        EpochRecord("sparsify", number, 0.1, 0.1, accuracy)
        for number, accuracy in enumerate(accuracies, start=1)
    )
    ends = [EpochRecord("recover", 1, 0.1, 0.1, accuracy) for accuracy in (0.65, 0.99)]
    assert [one.epoch for one in promising(levels(LONG), (*curve, ends[0]))] == [6, 5]
    assert promising(levels(LONG), (*curve, ends[1])) == []


def test_lower_ranks_share_all_training():
    found = lower_ranks(LONG, Plan(), ("head.*",))
    assert [one.epoch for one in found] == [None, None]
    late = [one.recipe.late_factorization for one in found]
    assert [(one.energy, one.convolution_energy) for one in late] == [(e, e) for e in ENERGIES]
    assert {one.exclude for one in late} == {("head.*",)}
    assert all(replace(one.recipe, late_factorization=None) == LONG for one in found)


def test_what_is_factorized_is_not_factorized_again():
    assert lower_ranks(LONG, Plan((LowRank("classifier.0", "linear", 4),)), ()) == []


def test_what_is_harvested_keeps_the_precision():
    precise = replace(LONG, precision="int8")
    found = [*lower_ranks(precise, Plan(), ()), *levels(precise)]
    assert {one.recipe.precision for one in found} == {"int8"}
