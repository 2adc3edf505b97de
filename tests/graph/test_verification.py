import copy
import math

import pytest
import torch
from torch import nn

from autocompress.errors import VerificationError
from autocompress.graph import check_equal, find_units, largest_difference
from autocompress.graph.verification import float64_outputs, why_ill_conditioned


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(288, 5),
    )  # fmt: skip


def test_outputs_are_those_of_a_float64_copy():
    model, x = net(), torch.randn(2, 3, 8, 8)
    (found,) = float64_outputs(model, x)
    expected = copy.deepcopy(model).double().eval()(x.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_attention_is_computed_in_float64():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    (found,) = float64_outputs(model, x)
    expected = copy.deepcopy(model).double()(x.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_the_difference_is_in_standard_deviations():
    before, x = net(), torch.randn(4, 3, 8, 8)
    after = copy.deepcopy(before)
    with torch.no_grad():
        after[4].bias[2] += 0.25
    expected = copy.deepcopy(before).double().eval()(x.double()).detach()
    reference = 0.25 / float(expected.std(correction=0))
    assert largest_difference(before, after, x) == pytest.approx(reference, rel=1e-5)
    assert largest_difference(before, copy.deepcopy(before), x) == 0.0


def test_models_keep_their_modes_and_statistics():
    model = net().train()
    largest_difference(model, model, torch.randn(4, 3, 8, 8))
    assert model.training
    assert model[1].num_batches_tracked == 0


def test_outputs_that_cannot_be_compared_are_infinitely_far():
    before, x = net(), torch.randn(4, 3, 8, 8)
    other = nn.Sequential(*list(before)[:4], nn.Linear(288, 6))
    assert largest_difference(before, other, x) == math.inf
    broken = copy.deepcopy(before)
    with torch.no_grad():
        broken[4].bias[0] = math.nan
    assert largest_difference(before, broken, x) == math.inf


def test_a_mismatch_names_stage_and_numbers():
    before, x = net(), torch.randn(4, 3, 8, 8)
    after = copy.deepcopy(before)
    with torch.no_grad():
        after[4].weight.mul_(1.01)
    with pytest.raises(VerificationError, match=r"fold: .* differ by .* allowed: 1e-06"):
        check_equal(before, after, x, stage="fold")
    assert check_equal(before, after, x, stage="fold", tolerance=1.0) > 0


def test_a_model_that_cannot_run_is_a_verification_error():
    after = net()[:2]
    after.append(nn.Linear(3, 3))
    with pytest.raises(VerificationError, match="cannot be run"):
        check_equal(net(), after, torch.randn(4, 3, 8, 8), stage="prune")


class Chaotic(nn.Module):
    """Turns rounding errors into anything."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 32), nn.Linear(32, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)))
        for _ in range(40):
            x = x + torch.sin(30 * x)
        return self.last(x)


def test_what_no_comparison_can_tell_is_refused_at_once():
    torch.manual_seed(0)
    model, image = Chaotic().eval(), torch.randn(4, 6)
    assert "turns rounding errors" in why_ill_conditioned(model, image)
    assert why_ill_conditioned(nn.Linear(6, 3), image) is None
    units = find_units(model, image)
    assert not units.removable
    assert all("cannot be verified" in group.reasons[0] for group in units.groups)
