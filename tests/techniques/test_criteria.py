import pytest
import torch

from autocompress.techniques.criteria import (
    CRITERIA,
    EVIDENCE,
    MEASURE_CHANGE,
    needs,
    scores_units_only,
)

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


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_worked_out_by_hand(name):
    torch.testing.assert_close(score(name, MADE_UP), torch.tensor(BY_HAND[name]))


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_declares_known_evidence_and_what_it_does(name):
    assert needs(CRITERIA[name]) <= set(EVIDENCE)
    assert needs(CRITERIA[name])
    assert ":" in CRITERIA[name].__doc__


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_does_not_edit_its_evidence(name):
    before = {key: value.clone() for key, value in MADE_UP.items()}
    score(name, MADE_UP)
    assert all(torch.equal(before[key], MADE_UP[key]) for key in before)


@pytest.mark.parametrize("name", CRITERIA)
def test_the_order_does_not_depend_on_the_scale(name):
    scaled = {key: value if key == "noise" else 7 * value for key, value in MADE_UP.items()}
    order, again = (
        score(name, MADE_UP).argsort(stable=True),
        score(name, scaled).argsort(stable=True),
    )
    assert torch.equal(order, again)


@pytest.mark.parametrize("name", CRITERIA)
def test_only_criteria_that_measure_change_are_blind_before_the_first_step(name):
    still = {**MADE_UP, "initial": W, "previous": W}
    assert (score(name, still).unique().numel() == 1) == (name in MEASURE_CHANGE)


def test_only_the_batch_norm_scale_cannot_score_a_single_weight():
    assert [name for name in CRITERIA if scores_units_only(CRITERIA[name])] == ["batch_norm_scale"]
