import pytest
import torchvision
from torch import nn

from autocompress.models import build
from autocompress.models.bounds import TooLargeError, refuse_large
from autocompress.models.networks import NETWORKS


@pytest.mark.parametrize("factory", [f"autocompress:{name}" for name in NETWORKS])
def test_networks_of_ours_are_measured_without_memory(factory):
    make = lambda: build(factory, num_classes=10, channels=3)  # noqa: E731
    size = sum(t.numel() * t.element_size() for t in make().state_dict().values())
    refuse_large(make, 2 * size)
    with pytest.raises(TooLargeError, match="would take more than 1,000 bytes"):
        refuse_large(make, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_models_of_torchvision_are_within_the_bounds(name):
    refuse_large(lambda: build(f"torchvision:{name}", num_classes=10, channels=3), 2**33)


def test_a_loop_that_adds_layers_for_ever_is_stopped():
    def endless():
        model = nn.Sequential()
        while True:
            model.append(nn.Identity())

    with pytest.raises(TooLargeError, match="tensors or modules"):
        refuse_large(endless, 1000)


def test_what_fails_is_left_to_the_real_build():
    def failing():
        raise RuntimeError("not here")

    refuse_large(failing, 1000)
