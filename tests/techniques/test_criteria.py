import pytest
import torch

from autocompress.errors import ConfigurationError
from autocompress.techniques.criteria import (
    CRITERIA,
    STATISTICS,
    measures_change,
    needs,
    scores_units_only,
)
from autocompress.testing.techniques import check_criterion

W = torch.tensor([3.0, -2.0, 0.5, 0.0])
W0 = torch.tensor([1.0, -4.0, -0.5, 2.0])
MADE_UP = {
    "weight": W,
    "initial": W0,
    "previous": W0 / 2,
    "saliency": torch.tensor([0.4, 0.1, 0.3, 0.2]),
    "input_norm": torch.tensor([1.0, 3.0, 2.0, 5.0]),
    "norm_scale": torch.tensor([0.9, 0.1, 0.5, 0.3]),
    "noise": torch.tensor([0.3, 0.2, 0.8, 0.1]),
}
BY_HAND = {
    "large_final": [3.0, 2.0, 0.5, 0.0],
    "squared_final": [9.0, 4.0, 0.25, 0.0],
    "small_final": [-3.0, -2.0, -0.5, 0.0],
    "random": [0.3, 0.2, 0.8, 0.1],
    "large_init": [1.0, 4.0, 0.5, 2.0],
    "small_init": [-1.0, -4.0, -0.5, -2.0],
    "large_init_large_final": [1.0, 2.0, 0.5, 0.0],
    "small_init_small_final": [-3.0, -4.0, -0.5, -2.0],
    "magnitude_increase": [2.0, -2.0, 0.0, -2.0],
    "movement": [2.0, 2.0, 1.0, 2.0],
    "movmag": [6.0, 4.0, 0.5, 0.0],
    "updating_magnitude_increase": [2.5, 0.0, 0.25, -1.0],
    "updating_movement": [2.5, 0.0, 0.75, 1.0],
    "updating_movmag": [7.5, 0.0, 0.375, 0.0],
    "taylor": [0.4, 0.1, 0.3, 0.2],
    "batch_norm_scale": [0.9, 0.1, 0.5, 0.3],
    "wanda": [3.0, 6.0, 1.0, 0.0],
}


def score(name, evidence):
    return CRITERIA[name](**{key: evidence[key] for key in needs(CRITERIA[name])})


@pytest.mark.parametrize("name", BY_HAND)
def test_scores_worked_out_by_hand(name):
    torch.testing.assert_close(score(name, MADE_UP), torch.tensor(BY_HAND[name]))


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_keeps_its_contract(name):
    check_criterion(CRITERIA[name])
    assert needs(CRITERIA[name]) <= set(STATISTICS)


def test_criteria_of_changes_declare_it():
    assert {name for name in CRITERIA if measures_change(CRITERIA[name])} == {
        *("magnitude_increase", "movement", "movmag"),
        *("updating_magnitude_increase", "updating_movement", "updating_movmag"),
    }


def test_a_new_criterion_needs_no_entry_anywhere_else():
    def define():
        def smoothed(weight, saliency):
            """Keep what is large and matters: sqrt(abs(w) s)."""
            return (weight.abs() * saliency).sqrt()

        return smoothed

    check_criterion(define())
    assert "smoothed" not in CRITERIA
    registered = CRITERIA.register(define())
    try:
        check_criterion(define())  # another version, that is not registered yet
        assert CRITERIA["smoothed"] is registered
    finally:
        CRITERIA.unregister("smoothed")


def drifting(weight, initial):
    """Keep what moved, without saying that it measures change."""
    return (weight - initial).abs()


def in_place(weight):
    """Keep what is large."""
    return weight.abs_()


def by_scale(weight):
    """Keep what is near 3."""
    return -(weight - 3).abs()


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (drifting, "declares measures_change=False"),
        (in_place, "edits its statistics"),
        (by_scale, "depends on the scale"),
        (lambda weight: weight, "no docstring"),
    ],
)
def test_what_breaks_the_contract_is_said(criterion, message):
    with pytest.raises(AssertionError, match=message):
        check_criterion(criterion)


def test_an_unknown_statistic_is_reported():
    def curvature(weight, hessian_norm, input_nrm):
        """Keep what bends the loss."""

    with pytest.raises(ConfigurationError) as caught:
        needs(curvature)
    assert len(caught.value.problems) == 2
    assert "did you mean 'input_norm'" in str(caught.value)


def test_only_the_batch_norm_scale_cannot_score_a_single_weight():
    assert [name for name in CRITERIA if scores_units_only(CRITERIA[name])] == ["batch_norm_scale"]
