import copy
import warnings

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph import Member, UnitGroup, find_units, plan_of
from autocompress.graph.removal import Choice, removal
from autocompress.techniques.pruning import (
    Pruning,
    RefusedUnitsWarning,
    prune,
    prune_with_report,
    zero_units,
)

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 16, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10), nn.ReLU(), nn.Linear(10, 4),
    )  # fmt: skip
    with torch.no_grad():
        model[1].bias.normal_()
    return model.eval()


def zero(model, layer, indices):
    with torch.no_grad():
        for name in layer:
            model[name].weight[indices] = 0
            model[name].bias[indices] = 0


def test_exactly_the_zero_units_are_found():
    model = net()
    zero(model, (0, 1), [3, 7])
    zero(model, (3,), [0])
    with torch.no_grad():
        model[3].weight[5] = 0  # its bias is not
        model[6].weight[:, :16] = 0  # what reads a unit does not matter
    found = zero_units(model, find_units(model, IMAGE))
    assert {name: mask.nonzero().flatten().tolist() for name, mask in found.items()} == {
        "0": [3, 7],
        "3": [0],
        "6": [],
    }


def test_rows_alone_are_not_zero():
    model = net()
    with torch.no_grad():
        model[0].weight[3] = 0
        model[0].bias[3] = 0
    assert not zero_units(model, find_units(model, IMAGE))["0"].any()


def test_pruning_returns_a_new_smaller_equal_model():
    model = net()
    zero(model, (0, 1), [3, 7])
    zero(model, (3,), [0, 4, 5])
    zero(model, (6,), [9])
    before = copy.deepcopy(model.state_dict())
    pruned = prune(model, IMAGE)
    assert (pruned[0].out_channels, pruned[3].out_channels, pruned[6].out_features) == (22, 13, 9)
    expected, found = (copy.deepcopy(m).double()(IMAGE.double()) for m in (model, pruned))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in pruned.parameters()}
    assert len(plan_of(pruned).steps) == 1
    assert not plan_of(model).steps


def test_nothing_zero_changes_nothing():
    model = net()
    pruned = prune(model, IMAGE)
    assert pruned.state_dict().keys() == model.state_dict().keys()
    assert not plan_of(pruned).steps


def test_one_unit_of_each_group_stays():
    model = net()
    zero(model, (3,), slice(None))
    assert prune(model, IMAGE)[3].out_channels == 1


@pytest.mark.parametrize(
    ("round_to", "zeros", "width"),
    [(1, 9, 15), (8, 9, 16), (8, 8, 16), (8, 1, 24), (16, 9, 16), (16, 3, 24), (5, 9, 15)],
)
def test_widths_are_rounded_up(round_to, zeros, width):
    model = net()
    zero(model, (0, 1), list(range(zeros)))
    assert prune(model, IMAGE, Pruning(round_to=round_to))[0].out_channels == width


def test_rounding_counts_channels_not_units():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 32, 1, groups=4), nn.Conv2d(32, 4, 1)
    ).eval()
    with torch.no_grad():  # a unit of the grouped convolution has one channel in each group
        for group in range(4):
            model[1].weight[8 * group : 8 * group + 3] = 0
            model[1].bias[8 * group : 8 * group + 3] = 0
    assert prune(model, IMAGE)[1].out_channels == 20
    assert prune(model, IMAGE, Pruning(round_to=8))[1].out_channels == 24


@pytest.mark.parametrize("value", [0, -8, 1.5, True])
def test_a_wrong_multiple_is_a_clear_error(value):
    with pytest.raises(ConfigurationError, match="round_to"):
        Pruning(round_to=value)


def wrong_group():
    """A group that forgets the layer that reads its units, and one that is simply wrong."""
    rows = torch.arange(10)[:, None]
    members = (Member("6.weight", 0, "weight", rows), Member("6.bias", 0, "bias", rows))
    return UnitGroup("6", "linear", members, 10)


def test_what_changes_the_outputs_is_refused_and_said():
    model = net()
    zero(model, (0, 1), [3])
    zero(model, (6,), [2])
    groups = [g for g in find_units(model, IMAGE) if g.name != "6"] + [wrong_group()]
    result = prune_with_report(model, IMAGE, units=groups)
    assert result.removed == {"0": 1}
    assert "cannot be run" in result.refused["6"]
    assert result.model[6].out_features == 10
    with pytest.warns(RefusedUnitsWarning, match="zero units of 6 stay"):
        prune(model, IMAGE, units=groups)


def test_inexact_units_are_never_removed():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2)).eval()
    zero(model, (0,), [1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prune(model, torch.randn(3, 4))[0].out_features == 6


def test_a_group_never_loses_all_units():
    model = net()
    group = next(iter(find_units(model, IMAGE)))
    with pytest.raises(UsageError, match="at least one of the 24 units of 0 must stay"):
        removal(model, [Choice(group, torch.ones(24, dtype=torch.bool))])


def test_a_pruned_model_is_pruned_again():
    model = net()
    zero(model, (0, 1), [3])
    once = prune(model, IMAGE)
    zero(once, (0, 1), [3, 5])
    twice = prune(once, IMAGE)
    assert twice[0].out_channels == 21
    assert len(plan_of(twice).steps) == 2


def test_training_mode_survives():
    model = net().train()
    zero(model, (0, 1), [3])
    assert prune(model, IMAGE).training
