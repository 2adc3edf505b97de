import pytest
import torch
from safetensors.torch import save
from torch import nn

from autocompress.targets import (
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5, bias=False)
        self.second = nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.second(self.first(inputs))


def test_tied_parameters_count_once():
    model = Tied()
    assert count_parameters(model) == 25
    assert count_nonzero(model) == 25
    assert state_bytes(model) == 100


def test_zeros_are_distinguished_from_the_rest():
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[1] = 0
        model.bias.fill_(1)
    assert count_parameters(model) == 15
    assert count_nonzero(model) == 11


def test_bytes_are_those_of_a_file_without_its_header():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).half()
    content = save(model.state_dict())
    header = 8 + int.from_bytes(content[:8], "little")
    assert state_bytes(model) == len(content) - header


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (1, 4, 8, 8), 6 * 4 * 9 * 4 * 4),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), (2, 4, 5, 5), 2 * 8 * 1 * 9 * 25),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 3, 3), 4 * 6 * 4 * 9),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), (1, 4, 3, 3), 0),
    ],
)
def test_macs_agree_with_the_closed_form(model, shape, expected):
    macs = count_macs(model, torch.rand(shape))
    assert (macs.total, macs.uncounted) == (expected, ())


def test_macs_of_attention_agree_with_the_closed_form():
    tokens, width = 6, 8
    layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=16, batch_first=True)
    expected = 4 * tokens * width * width + 2 * tokens * tokens * width + 2 * tokens * width * 16
    macs = count_macs(layer, torch.rand(1, tokens, width))
    assert (macs.total, macs.uncounted) == (expected, ())


def test_what_could_not_be_counted_is_named():
    class Odd(nn.Module):
        def forward(self, inputs):
            return torch.mv(inputs, inputs[0]) @ inputs[0]

    macs = count_macs(Odd(), torch.rand(3, 3))
    assert macs.total == 0
    assert macs.uncounted == ("aten::dot", "aten::mv")


def test_counting_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    before = torch.backends.mha.get_fastpath_enabled()
    count_macs(model, torch.rand(2, 1, 3, 3))
    assert model.training
    assert int(model[1].num_batches_tracked) == 0
    assert torch.backends.mha.get_fastpath_enabled() == before
