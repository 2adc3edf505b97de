import itertools

import numpy as np
import pytest

from autocompress.metrics import Estimate, Metric
from autocompress.metrics.metric import LATENCY
from autocompress.metrics.pareto import (
    costs,
    dominates,
    hypervolume,
    hypervolumes,
    non_dominated,
)

OBJECTIVES = (1, 2, 3, 4, 5)


def clouds(objectives, n=12):
    """Return random points, and points with many equal coordinates."""
    chance = np.random.default_rng(objectives)
    return [chance.random((n, objectives)), chance.integers(0, 4, (n, objectives)) / 4]


def inclusion_exclusion(points, reference):
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            worst = np.max(chosen, axis=0)
            total += (-1) ** (size + 1) * np.prod(np.maximum(reference - worst, 0))
    return total


def test_domination_needs_one_better_and_no_worse_objective():
    assert dominates([1, 2, 3], [1, 2, 4])
    assert not dominates([1, 2, 3], [1, 2, 3])
    assert not dominates([1, 2, 3], [0, 2, 4])
    with pytest.raises(ValueError, match="as many objectives"):
        dominates([1, 2], [1, 2, 3])


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_the_front_is_what_no_point_dominates(objectives):
    for points in clouds(objectives, n=60):
        expected = [
            index
            for index, point in enumerate(points)
            if not any(dominates(other, point) for other in points)
        ]
        assert non_dominated(points).tolist() == expected


def test_equal_points_are_all_on_the_front():
    assert non_dominated([[1, 2], [1, 2], [2, 1]]).tolist() == [0, 1, 2]


def test_no_points_have_no_front_and_no_volume():
    assert non_dominated([]).tolist() == []
    assert hypervolume(np.empty((0, 3)), [1, 1, 1]) == 0


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_the_hypervolume_is_that_of_inclusion_and_exclusion(objectives):
    for points in clouds(objectives, n=10):
        reference = np.full(objectives, 0.9)
        expected = inclusion_exclusion(points, reference)
        assert hypervolume(points, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_the_hypervolume_is_optunas(objectives):
    wfg = pytest.importorskip("optuna._hypervolume.wfg")
    for points in clouds(objectives, n=40):
        reference = np.full(objectives, 1.1)
        expected = wfg.compute_hypervolume(points, reference)
        assert hypervolume(points, reference) == pytest.approx(expected)


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_the_hypervolume_over_time_is_that_of_the_points_so_far(objectives):
    for points in clouds(objectives, n=20):
        reference = [0.8] * objectives
        given = [None, *points.tolist()]
        volumes = list(hypervolumes(given, reference))
        expected = [hypervolume(points[:n], reference) for n in range(len(given))]
        assert volumes == pytest.approx(expected, abs=1e-12)


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume([[0.5, 2.0], [1.0, 0.0]], [1.0, 1.0]) == 0
    assert hypervolume([[0.5, 0.5], [0.1, 2.0]], [1.0, 1.0]) == 0.25


@pytest.mark.parametrize(
    ("points", "reference"),
    [([[1, 2]], [1]), ([[0] * 6], [1] * 6), ([1, 2], [3, 3]), ([[1, float("nan")]], [3, 3])],
)
def test_points_that_do_not_fit_are_refused(points, reference):
    with pytest.raises(ValueError, match="expected"):
        hypervolume(points, reference)


def test_costs_are_minimized_whatever_the_direction():
    score = Metric(name="score", direction="maximize")
    assert costs({"latency_ms": Estimate(value=2.0), "score": 0.5}, [score, LATENCY]) == [-0.5, 2]
    with pytest.raises(KeyError):
        costs({"score": 0.5}, [score, LATENCY])
