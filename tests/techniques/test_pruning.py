import copy

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph import Member, Plan, UnitGroup, find_units, rebuild
from autocompress.graph.removal import Choice, removal
from autocompress.techniques.pruning import Pruning, prune, zero_units

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
    pruned, report = prune(model, example=IMAGE)
    assert (pruned[0].out_channels, pruned[3].out_channels, pruned[6].out_features) == (22, 13, 9)
    expected, found = (copy.deepcopy(m).double()(IMAGE.double()) for m in (model, pruned))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in pruned.parameters()}
    assert len(report.steps) == 1
    assert report.removed == {"0": 2, "3": 3, "6": 1}
    assert report.sentences[0] == "0: 2 of 24 units are removed"


def test_nothing_zero_changes_nothing():
    model = net()
    pruned, report = prune(model, example=IMAGE)
    assert pruned.state_dict().keys() == model.state_dict().keys()
    assert report.steps == ()
    assert report.sentences == ("no unit is exactly zero",)


def test_one_unit_of_each_group_stays():
    model = net()
    zero(model, (3,), slice(None))
    pruned, report = prune(model, example=IMAGE)
    assert pruned[3].out_channels == 1
    assert report.sentences[1] == "3: 1 zero units stay: one is always left"


@pytest.mark.parametrize(
    ("round_to", "zeros", "width"),
    [(1, 9, 15), (8, 9, 16), (8, 8, 16), (8, 1, 24), (16, 9, 16), (16, 3, 24), (5, 9, 15)],
)
def test_widths_are_rounded_up(round_to, zeros, width):
    model = net()
    zero(model, (0, 1), list(range(zeros)))
    pruned, report = prune(model, Pruning(round_to=round_to), example=IMAGE)
    assert pruned[0].out_channels == width
    stay = any(f"multiple of {round_to}" in said for said in report.sentences)
    assert stay == (width > 24 - zeros)


def test_rounding_counts_channels_not_units():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 32, 1, groups=4), nn.Conv2d(32, 4, 1)
    ).eval()
    with torch.no_grad():  # a unit of the grouped convolution has one channel in each group
        for group in range(4):
            model[1].weight[8 * group : 8 * group + 3] = 0
            model[1].bias[8 * group : 8 * group + 3] = 0
    assert prune(model, example=IMAGE)[0][1].out_channels == 20
    assert prune(model, Pruning(round_to=8), example=IMAGE)[0][1].out_channels == 24


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
    pruned, report = prune(model, example=IMAGE, units=groups)
    assert report.removed == {"0": 1}
    assert "cannot be run" in report.refused["6"]
    assert pruned[6].out_features == 10
    assert any(said.startswith("6: 1 zero units stay: ") for said in report.sentences)


def test_inexact_units_are_never_removed():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2)).eval()
    zero(model, (0,), [1, 2])
    pruned, report = prune(model, example=torch.randn(3, 4))
    assert pruned[0].out_features == 6
    assert not report.refused
    (said,) = report.sentences
    assert said.startswith("0: 2 units are zero, but stay: ")


def test_filters_that_are_zero_but_for_a_bias_or_a_norm_are_named():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
    ).eval()
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[1].weight[:4] = 0
        model[1].bias.fill_(0.5)
    pruned, report = prune(model, example=IMAGE)
    assert pruned[0].out_channels == 8
    assert report.sentences == ("0: 4 filters are zero, but 1.bias is not",)
    with torch.no_grad():
        model[1].weight[:2] = 1
    assert prune(model, example=IMAGE)[1].sentences == (
        "0: 4 filters are zero, but 1.weight, 1.bias are not",
    )


def test_a_group_never_loses_all_units():
    model = net()
    group = next(iter(find_units(model, IMAGE)))
    with pytest.raises(UsageError, match="at least one of the 24 units of 0 must stay"):
        removal(model, [Choice(group, torch.ones(24, dtype=torch.bool))])


def test_a_pruned_model_is_pruned_again():
    model = net()
    zero(model, (0, 1), [3])
    once, first = prune(model, example=IMAGE)
    zero(once, (0, 1), [3, 5])
    twice, second = prune(once, example=IMAGE)
    assert twice[0].out_channels == 21
    fresh = net()
    rebuild(fresh, Plan().then(*first.steps, *second.steps))
    fresh.load_state_dict(twice.state_dict())
    assert torch.equal(fresh(IMAGE), twice(IMAGE))


def test_training_mode_survives():
    model = net().train()
    zero(model, (0, 1), [3])
    assert prune(model, example=IMAGE)[0].training
