import copy

import pytest
import torch
from torch import nn

from autocompress.errors import UsageError
from autocompress.graph import (
    Fold,
    LowRank,
    Plan,
    Remove,
    fold,
    rebuild,
    remove,
    replace_low_rank,
)

REFLECTING = nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="reflect")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)).eval()


def test_removal_cuts_tensors_and_sizes_follow():
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    step = Remove(
        {("0.weight", 0): (1, 5), ("0.bias", 0): (1, 5), ("2.weight", 1): (1, 5)}
        | {(f"1.{name}", 0): (1, 5) for name in ("weight", "bias", "running_mean", "running_var")}
    )
    remove(model, step)
    kept = [0, 2, 3, 4, 6, 7]
    assert torch.equal(model[0].weight, before["0.weight"][kept])
    assert torch.equal(model[2].weight, before["2.weight"][:, kept])
    assert (model[0].out_channels, model[1].num_features, model[2].in_channels) == (6, 6, 6)
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 4, 4, 4)


@pytest.mark.parametrize(
    ("layer", "cuts", "sizes"),
    [
        (nn.Conv2d(8, 8, 3, groups=8), {0: (1,)}, {"groups": 7, "in_channels": 7}),
        (nn.Conv2d(4, 8, 3, groups=4), {0: (2, 3)}, {"groups": 3, "out_channels": 6}),
        (nn.Conv2d(8, 12, 3, groups=4), {1: (1,)}, {"groups": 4, "in_channels": 4}),
        (nn.ConvTranspose2d(8, 6, 3), {1: (0,)}, {"in_channels": 8, "out_channels": 5}),
        (nn.ConvTranspose2d(8, 8, 3, groups=8), {0: (0,)}, {"groups": 7, "out_channels": 7}),
        (nn.Linear(5, 4), {1: (0, 1)}, {"in_features": 3, "out_features": 4}),
        (nn.LayerNorm(6), {0: (0,)}, {"normalized_shape": (5,)}),
        (nn.GroupNorm(3, 6), {0: (0, 2, 4)}, {"num_groups": 3, "num_channels": 3}),
        (nn.GroupNorm(6, 6), {0: (0,)}, {"num_groups": 5, "num_channels": 5}),
        (nn.PReLU(6), {0: (0,)}, {"num_parameters": 5}),
        (nn.Embedding(9, 6), {1: (0,)}, {"num_embeddings": 9, "embedding_dim": 5}),
    ],
)
def test_sizes_of_standard_modules_follow(layer, cuts, sizes):
    model = nn.Sequential(copy.deepcopy(layer))
    remove(model, Remove({("0.weight", dim): indices for dim, indices in cuts.items()}))
    assert {name: getattr(model[0], name) for name in sizes} == sizes


def test_tied_tensors_stay_tied():
    first, second = nn.Linear(4, 6), nn.Linear(4, 6)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    remove(model, Remove({("0.weight", 0): (2,)}))
    assert model[0].weight is model[1].weight
    assert model[1].out_features == 5


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Remove({("9.weight", 0): (1,)}), "no module '9'"),
        (Remove({("0.nothing", 0): (1,)}), "no tensor '0.nothing'"),
        (Remove({("0.weight", 0): (8,)}), "index 8 of dimension 0"),
        (Remove({("0.weight", 7): (0,)}), "dimension 7"),
        (Remove({("0.bias", 0): tuple(range(8))}), "nothing of 0.bias would be left"),
        (Remove({}, {"0.colour": 3}), "no whole-number attribute"),
    ],
)
def test_a_step_that_does_not_fit_is_a_clear_error(step, message):
    with pytest.raises(UsageError, match=message):
        remove(net(), step)


LAYERS = {
    "linear": (nn.Linear(6, 5), (2, 6)),
    "pointwise": (nn.Conv2d(4, 6, 1, stride=2), (2, 4, 7, 7)),
    "channel": (
        nn.Conv2d(3, 6, 3, stride=2, padding=1, padding_mode="reflect"),
        (2, 3, 9, 9),
    ),
    "spatial": (
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        (2, 2, 11, 13),
    ),
}


def full_rank_factors(kind, weight):
    """Factors whose product is the weight itself."""
    if kind == "linear":
        return torch.eye(weight.shape[1]), weight
    if kind == "pointwise":
        return torch.eye(weight.shape[1])[..., None, None], weight
    if kind == "channel":
        return weight, torch.eye(weight.shape[0])[..., None, None]
    out, channels, rows, columns = weight.shape
    u, s, v = torch.linalg.svd(weight.permute(1, 2, 0, 3).reshape(channels * rows, -1))
    rank = len(s)
    first = u[:, :rank].T.reshape(rank, channels, rows, 1)
    second = (s[:, None] * v[:rank]).reshape(rank, out, columns).permute(1, 0, 2)[:, :, None]
    return first, second


@pytest.mark.parametrize("kind", LAYERS)
def test_two_layers_of_full_rank_compute_the_same(kind):
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    model = nn.Sequential(copy.deepcopy(layer)).double()
    x = torch.randn(shape).double()
    expected = model(x)
    first, second = full_rank_factors(kind, model[0].weight.detach())
    rank = first.shape[0]
    step = LowRank("0", kind, rank)
    replace_low_rank(model, step, (first, second))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
    assert model[0][0].bias is None
    fresh = nn.Sequential(copy.deepcopy(layer)).double()
    rebuild(fresh, Plan((step,)))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))


def test_low_rank_refuses_what_does_not_fit():
    model = nn.Sequential(nn.Linear(6, 5), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU())
    with pytest.raises(UsageError, match="needs a 2-D convolution without groups"):
        replace_low_rank(model, LowRank("1", "channel", 2), None)
    with pytest.raises(UsageError, match="needs a linear layer"):
        replace_low_rank(model, LowRank("1", "linear", 2), None)
    with pytest.raises(UsageError, match="no weight"):
        replace_low_rank(model, LowRank("2", "linear", 2), None)
    with pytest.raises(UsageError, match="must have shapes"):
        replace_low_rank(model, LowRank("0", "linear", 2), (torch.ones(1, 6), torch.ones(5, 2)))
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    with pytest.raises(UsageError, match="shared with another module"):
        replace_low_rank(tied, LowRank("0", "linear", 2), None)
    with pytest.raises(UsageError, match="read by its attention"):
        replace_low_rank(
            nn.TransformerEncoderLayer(8, 2), LowRank("self_attn.out_proj", "linear", 2), None
        )


def norm_with_statistics(kind, channels):
    norm = kind(channels)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d, (2, 3, 8, 8)),
        (nn.Conv2d(4, 6, 3, groups=2, padding=1), nn.BatchNorm2d, (2, 4, 8, 8)),
        (nn.Conv1d(3, 6, 3), nn.BatchNorm1d, (2, 3, 8)),
        (nn.ConvTranspose2d(3, 6, 3), nn.BatchNorm2d, (2, 3, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d, (2, 4, 8, 8)),
        (nn.Linear(3, 6), nn.BatchNorm1d, (2, 3)),
    ],
)
def test_a_norm_after_a_layer_folds_exactly(layer, norm, shape):
    torch.manual_seed(0)
    model = nn.Sequential(copy.deepcopy(layer), norm_with_statistics(norm, 6)).double().eval()
    x = torch.randn(shape).double()
    expected = model(x)
    fold(model, Fold("0", "1"))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
    assert isinstance(model[1], nn.Identity)
    fresh = nn.Sequential(copy.deepcopy(layer), norm(6)).double().eval()
    rebuild(fresh, Plan((Fold("0", "1"),)))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d, (2, 4, 8, 8)),
        (REFLECTING, nn.BatchNorm2d, (2, 4, 8, 8)),
        (nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d, (2, 4, 8, 8)),
        (nn.Linear(4, 6), nn.BatchNorm1d, (2, 4)),
    ],
)  # fmt: skip
def test_a_norm_before_a_layer_folds_exactly(layer, norm, shape):
    torch.manual_seed(0)
    model = nn.Sequential(norm_with_statistics(norm, 4), copy.deepcopy(layer)).double().eval()
    x = torch.randn(shape).double()
    expected = model(x)
    fold(model, Fold("1", "0", "before"))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


def test_a_norm_folds_into_two_readers():
    model = nn.ModuleDict(
        {
            "norm": norm_with_statistics(nn.BatchNorm2d, 4),
            "a": nn.Conv2d(4, 2, 1),
            "b": nn.Conv2d(4, 3, 1),
        }
    ).eval()
    x = torch.randn(1, 4, 5, 5)
    expected = [model[key](model["norm"](x)) for key in "ab"]
    fold(model, Fold("a", "norm", "before", remove_norm=False))
    fold(model, Fold("b", "norm", "before"))
    assert isinstance(model["norm"], nn.Identity)
    for key, value in zip("ab", expected, strict=True):
        torch.testing.assert_close(model[key](x), value)


class NormAndActivation(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(super().forward(x))


def test_the_activation_of_a_norm_survives():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), NormAndActivation(4)).eval()
    x = torch.randn(1, 3, 5, 5)
    expected = model(x)
    fold(model, Fold("0", "1"))
    assert isinstance(model[1], nn.ReLU)
    torch.testing.assert_close(model(x), expected)


def test_folds_that_are_not_exact_are_refused():
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
    with pytest.raises(UsageError, match="zero-padded"):
        fold(model, Fold("1", "0", "before"))
    with pytest.raises(UsageError, match="4 channels but 1 has 6"):
        fold(model, Fold("1", "0"))
    with pytest.raises(UsageError, match="must be a batch norm"):
        fold(model, Fold("1", "2"))
    with pytest.raises(UsageError, match="must be a convolution"):
        fold(model, Fold("2", "0"))


def test_nothing_of_a_plan_is_left_in_the_model():
    """A compressed model is a model like any other: what was done to it is known to the caller."""
    model = net()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    fold(model, Fold("0", "1"))
    remove(model, Remove({("0.weight", 0): (1,), ("0.bias", 0): (1,), ("2.weight", 1): (1,)}))
    assert set(vars(model)) == before[""]
    rebuild(model, Plan((LowRank("2", "channel", 2),)))
    assert set(vars(model)) == before[""]
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 4, 4, 4)


def test_new_parameters_keep_their_gradients_and_types():
    model = net().double()
    model[0].weight.requires_grad_(requires_grad=False)
    remove(model, Remove({("0.weight", 0): (1,)}))
    assert model[0].weight.dtype == torch.float64
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
