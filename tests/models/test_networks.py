import pytest
import torch

from autocompress import models
from autocompress.errors import ConfigurationError


@pytest.mark.parametrize("name", list(models.NETWORKS))
@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_maps_images_to_logits(name, side, channels):
    model = models.build(f"autocompress:{name}", num_classes=7, channels=channels)
    assert model(torch.rand(2, channels, side, side)).shape == (2, 7)


@pytest.mark.parametrize("name", list(models.NETWORKS))
def test_structure_is_deterministic_and_weights_follow_the_seed(name):
    def made(seed):
        torch.manual_seed(seed)
        return models.build(f"autocompress:{name}", num_classes=3, channels=1).state_dict()

    first, again, other = made(0), made(0), made(1)
    assert list(first) == list(other)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_vgg_small_has_the_layers_it_promises():
    kwargs = {"widths": [4, 6, 8], "layers_per_stage": 1, "hidden": 12}
    model = models.build("autocompress:vgg_small", kwargs, num_classes=5, channels=2)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert [c.out_channels for c in convolutions] == [4, 6, 8]
    assert [(m.in_features, m.out_features) for m in linears] == [(32, 12), (12, 12), (12, 5)]


def test_resnet_small_halves_the_resolution_between_stages():
    model = models.build(
        "autocompress:resnet_small", {"widths": [4, 8, 16]}, num_classes=5, channels=3
    )
    images = torch.rand(1, 3, 32, 32)
    assert model.blocks(model.stem(images)).shape == (1, 16, 8, 8)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"widths": []}, "one integer of at least 1 per stage"),
        ({"widths": [8, 0]}, "widths"),
        ({"hidden": 0}, "hidden = 0"),
        ({"layers_per_stage": 1.5}, "layers_per_stage = 1.5"),
        ({"width": [8]}, "its arguments: num_classes, channels, widths"),
        ({"dropout": 2.0}, "dropout"),
    ],
)
def test_bad_sizes_are_named(kwargs, message):
    with pytest.raises(ConfigurationError, match=message):
        models.build("autocompress:vgg_small", kwargs, num_classes=2, channels=1)
