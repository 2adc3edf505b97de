import itertools

import numpy as np
import pytest
import torch
from torch import nn

from autocompress.techniques.granularity import (
    CONVOLUTION_GRANULARITIES,
    GRANULARITIES,
    LINEAR_GRANULARITIES,
    inputs_multiple_of,
    ranks_layers,
    zeroes_units,
)
from autocompress.techniques.layers import find_layers
from autocompress.testing.techniques import check_granularity

SPANS = {  # axes of [out, in, height, width] that a group spans
    "weight": (),
    "shared_weight": (0,),
    "channel": (1,),
    "column": (2,),
    "row": (3,),
    "kernel": (2, 3),
    "filter": (1, 2, 3),
    "shared_channel": (0, 1),
    "shared_column": (0, 2),
    "shared_row": (0, 3),
    "vertical_slice": (1, 2),
    "horizontal_slice": (1, 3),
    "shared_vertical_slice": (0, 1, 2),
    "shared_horizontal_slice": (0, 1, 3),
    "shared_kernel": (0, 2, 3),
    "layer": (0, 1, 2, 3),
}
LINEAR_SPANS = {"weight": (), "column": (0,), "row": (1,), "layer": (0, 1)}
CONVOLUTIONS = {
    "1d": nn.Conv1d(8, 6, 3),
    "2d": nn.Conv2d(8, 6, (3, 2)),
    "3d": nn.Conv3d(8, 6, (2, 3, 2)),
    "grouped": nn.Conv2d(8, 6, 3, groups=2),
    "depthwise": nn.Conv2d(8, 16, 3, groups=8),
    "transposed": nn.ConvTranspose2d(8, 6, (3, 2)),
    "transposed grouped": nn.ConvTranspose2d(8, 6, 3, groups=2),
    "transposed 1d": nn.ConvTranspose1d(8, 6, 3),
}


def test_the_names_cover_every_choice_of_axes():
    choices = itertools.chain.from_iterable(itertools.combinations(range(4), n) for n in range(5))
    assert set(SPANS.values()) == set(choices)
    assert set(CONVOLUTION_GRANULARITIES) == {*SPANS, "two_of_four"}
    assert set(LINEAR_GRANULARITIES) == {*LINEAR_SPANS, "two_of_four"}


def test_what_is_special_about_a_granularity_is_declared_beside_it():
    every = [(kind, name, f) for kind, known in GRANULARITIES.items() for name, f in known.items()]
    units = {(kind, name) for kind, name, f in every if zeroes_units(f, kind)}
    assert units == {("convolution", "filter"), ("linear", "row")}
    assert {name for _, name, f in every if ranks_layers(f)} == {"layer"}
    assert {name for _, name, f in every if inputs_multiple_of(f) > 1} == {"two_of_four"}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, known in GRANULARITIES.items() for name in known]
)
def test_a_granularity_keeps_its_contract(kind, name):
    check_granularity(GRANULARITIES[kind][name], kind)


def test_a_new_granularity_needs_no_entry_anywhere_else():
    def pair_of_inputs(scores):
        """Zero the weights of two neighbouring inputs at once."""
        pairs = torch.unflatten(scores, 1, (-1, 2)).mean((0, 2), keepdim=True)
        return pairs.expand(1, -1, 2, *pairs.shape[3:]).flatten(1, 2)

    check_granularity(pair_of_inputs, "linear")


def test_a_granularity_that_forgets_what_was_zeroed_is_reported():
    def forgetful(scores):
        """Zero single weights."""
        return scores.clamp(min=0)

    with pytest.raises(AssertionError, match="must score -inf"):
        check_granularity(forgetful, "linear")


@pytest.mark.parametrize("name", SPANS)
def test_group_scores_of_a_convolution_are_numpy_means(name):
    scores = torch.randn(6, 4, 3, 2, generator=torch.manual_seed(0))
    expected = scores.numpy().mean(SPANS[name], keepdims=True) if SPANS[name] else scores.numpy()
    found = CONVOLUTION_GRANULARITIES[name](scores[:, :, None])
    np.testing.assert_allclose(found.numpy()[:, :, 0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LINEAR_SPANS)
def test_group_scores_of_a_linear_layer_are_numpy_means(name):
    scores = torch.randn(6, 4, generator=torch.manual_seed(0))
    spans = LINEAR_SPANS[name]
    expected = scores.numpy().mean(spans, keepdims=True) if spans else scores.numpy()
    found = LINEAR_GRANULARITIES[name](scores)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("registry", [CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES])
def test_every_granularity_says_what_it_zeroes(registry):
    assert all(function.__doc__.startswith("Zero ") for function in registry.values())


@pytest.mark.parametrize("module", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
@pytest.mark.parametrize("name", CONVOLUTION_GRANULARITIES)
def test_group_scores_broadcast_over_any_convolution(name, module):
    (layer,), _ = find_layers(nn.Sequential(module))
    scores = layer.common(torch.rand(module.weight.shape))
    if name == "two_of_four" and scores.shape[1] % 4:
        pytest.skip("needs a multiple of 4 inputs per filter")
    groups = CONVOLUTION_GRANULARITIES[name](scores)
    assert torch.broadcast_shapes(groups.shape, scores.shape) == scores.shape
    mask = layer.original(groups > 0)
    assert mask.expand(module.weight.shape).all()


@pytest.mark.parametrize("module", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
def test_filters_are_output_channels_of_any_convolution(module):
    """Zeroing one filter of a convolution without bias zeroes that channel and no other."""
    torch.manual_seed(0)
    (layer,), _ = find_layers(nn.Sequential(module))
    scores = layer.common(module.weight.detach().abs())
    assert scores.shape[:2] == (module.out_channels, module.in_channels // module.groups)
    zeroed = torch.zeros(CONVOLUTION_GRANULARITIES["filter"](scores).shape, dtype=torch.bool)
    zeroed[3] = True
    thin = type(module)(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        groups=module.groups,
        bias=False,
    )
    with torch.no_grad():
        thin.weight.masked_fill_(layer.original(zeroed), 0)
        out = thin(torch.randn(2, 8, *[7] * len(module.kernel_size))).transpose(0, 1).flatten(1)
    assert (out == 0).all(1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("module", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
def test_the_common_layout_goes_back_to_the_original(module):
    (layer,), _ = find_layers(nn.Sequential(module))
    assert torch.equal(layer.original(layer.common(module.weight)), module.weight)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1, 3, 3)])
def test_two_of_four_spares_the_two_best_of_each_block(shape):
    scores = torch.rand(shape, generator=torch.manual_seed(0))
    granularity = (LINEAR_GRANULARITIES if len(shape) == 2 else CONVOLUTION_GRANULARITIES)[
        "two_of_four"
    ]
    spared = granularity(scores).isinf().numpy()
    blocks = scores.numpy().reshape(6, 2, 4, -1)
    rank = blocks.argsort(2).argsort(2)
    np.testing.assert_array_equal(spared.reshape(6, 2, 4, -1), rank >= 2)


def test_parametrized_and_tied_weights_are_distinguished():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    computed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    layers, unusable = find_layers(nn.Sequential(first, second, computed))
    assert [layer.name for layer in layers] == ["0"]
    assert unusable == {"2": "its weight is computed from other parameters"}


def test_the_joint_projection_of_an_attention_counts_as_linear():
    layers, _ = find_layers(nn.Sequential(nn.MultiheadAttention(8, 2)))
    assert {layer.name: layer.kind for layer in layers} == {
        "0.in_proj": "linear",
        "0.out_proj": "linear",
    }
