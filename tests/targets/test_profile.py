import json

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets import Profiling, count_macs, profile_layers
from autocompress.targets.profile import BLOCK_CALLS, MOST_BLOCKS

IMAGES = torch.rand(1, 1, 6, 6)
BRIEF = Profiling(budget_s=0.01)


def net(width=4, *, norm=True, last=None):
    layers = {
        "conv": nn.Conv2d(1, width, 3),
        "norm": nn.BatchNorm2d(width) if norm else nn.Identity(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "last": last or nn.Linear(width, 10),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


def profiled(before, after, images=IMAGES):
    return {row.name: row for row in profile_layers(before, after, images, BRIEF)}


def test_every_layer_with_a_weight_is_timed_in_both_models():
    rows = profiled(net(4), net(3))
    assert list(rows) == ["conv", "norm", "last"]
    assert rows["conv"].type == "Conv2d"
    for row in rows.values():
        for side in (row.before, row.after):
            assert side.ms > 0
            assert side.overhead_ms > 0
    assert rows["conv"].before.widths == (4,)
    assert rows["conv"].after.widths == (3,)
    assert rows["norm"].after.widths == ()


def test_a_fast_model_is_called_as_often_as_its_medians_need():
    """And not until the time is up: nothing that is saved of a trial costs more than it."""
    calls = []

    class Counted(nn.Linear):
        def forward(self, inputs):
            calls.append(1)
            return super().forward(inputs)

    model = nn.Sequential(nn.Flatten(), Counted(36, 2))
    profile_layers(model, model, IMAGES, Profiling(budget_s=300.0))
    assert len(calls) == 2 * (2 + BLOCK_CALLS * MOST_BLOCKS)  # two before the blocks


def test_rows_become_plain_data():
    rows = [row.to_dict() for row in profiled(net(4), net(3, norm=False)).values()]
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0]["after"]["widths"] == [3]
    assert rows[1]["after"] is None


def test_work_is_counted_as_elsewhere():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, bias=False),
        nn.Conv2d(6, 6, 2, groups=3),
        nn.ConvTranspose2d(6, 2, 3, groups=2),
        nn.Flatten(),
        nn.Linear(18, 5),
    )
    rows = profiled(model, model)
    assert sum(row.before.macs for row in rows.values()) == count_macs(model, IMAGES).total


def test_bytes_are_inputs_outputs_and_weights():
    rows = profiled(net(4), net(4))
    assert rows["conv"].before.bytes == 4 * (36 + 4 * 16 + 4 * 9 + 4)
    assert rows["last"].before.bytes == 4 * (4 + 10 + 40 + 10)


def test_the_parts_of_a_factorized_layer_are_added_up():
    last = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 10))
    row = profiled(net(4), net(4, last=last))["last"]
    assert row.after.macs == 8 + 20
    assert row.after.widths == (2, 10)
    assert row.after.overhead_ms == pytest.approx(2 * row.before.overhead_ms)


def test_a_layer_that_is_gone_has_no_numbers():
    assert profiled(net(), net(norm=False))["norm"].after is None


def test_a_layer_that_is_called_twice_does_twice_the_work():
    shared = nn.Linear(6, 6)
    row = profiled(nn.Sequential(shared, shared), nn.Sequential(shared))["0"]
    assert row.before.macs == 2 * row.after.macs
    assert row.before.overhead_ms == pytest.approx(2 * row.after.overhead_ms)


def test_a_layer_that_is_never_called_has_no_row():
    class Skipping(nn.Sequential):
        def forward(self, images):
            return self.conv(images)

    model = Skipping()
    model.add_module("conv", nn.Conv2d(1, 2, 3))
    model.add_module("unused", nn.Linear(2, 2))
    assert list(profiled(model, model)) == ["conv"]


def test_profiling_changes_neither_model():
    model = net().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    profiled(model, model)
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_channels_that_come_last_need_images():
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(
        ConfigurationError, match=r"channels_last needs inputs .*not shape \[1, 3\]"
    ):
        profile_layers(model, model, torch.rand(1, 3), Profiling(channels_last=True))


@pytest.mark.gpu
def test_layers_are_timed_on_a_cuda_device():
    settings = Profiling(device=torch.device("cuda"), budget_s=0.01)
    rows = profile_layers(net().cuda(), net(3).cuda(), IMAGES, settings)
    assert all(row.after.ms > 0 for row in rows)


def test_inputs_may_be_whole_numbers():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    rows = profiled(model, model, torch.randint(10, (1, 3)))
    assert [row.macs for row in (rows["0"].before, rows["2"].before)] == [0, 24]
