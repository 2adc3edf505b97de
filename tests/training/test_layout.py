"""Networks train with channels last where they can; on the CPU, as if it were fastest there."""

import copy

import pytest
import torch
from torch import nn

from autocompress.datasets import Images, Splits
from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.techniques.distillation import Distillation
from autocompress.training import layout
from autocompress.training.batches import BatchSettings, make_batches
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Fit, Training, fit
from autocompress.training.layout import common_layout, fastest_layout

ONCE = Fit("sparsify", 1, 1e-2, 0.0)


class Net(nn.Module):
    """Two convolutions; ``cut`` flattens what they put out."""

    def __init__(self, cut):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.dropout, self.head, self.cut = nn.Dropout(), nn.Linear(4 * 64, 4), cut
        self.seen = set()

    def forward(self, images):
        inner = self.first(images).relu()
        self.seen.add(inner.is_contiguous(memory_format=torch.channels_last))
        return self.head(self.dropout(self.cut(self.second(inner))))


def flattening():
    return Net(lambda x: x.flatten(1))


def viewing():
    return Net(lambda x: x.view(len(x), -1))


@pytest.fixture
def channels_last(monkeypatch):
    monkeypatch.setattr(layout, "fastest_layout", lambda _: torch.channels_last)


@pytest.fixture
def colours():
    images = torch.randint(0, 256, (16, 3, 8, 8), generator=torch.manual_seed(0)).byte()
    part = Images(images, torch.arange(16) % 4)
    splits = Splits(
        train=part, valid=part, test=part, classes=("a", "b", "c", "d"), channels=3, image_size=8,
        mean=(0.5,) * 3, std=(0.3,) * 3,
    )  # fmt: skip
    return make_batches(splits, BatchSettings(batch_size=8), device="cpu")


def test_gpus_are_fastest_with_channels_last():
    assert fastest_layout(torch.device("cuda")) == torch.channels_last
    assert fastest_layout(torch.device("cpu")) == torch.contiguous_format


@pytest.mark.usefixtures("channels_last")
def test_one_network_that_views_brings_all_back_to_channels_first(colours):
    assert common_layout([flattening(), flattening()], colours.example) == torch.channels_last
    assert common_layout([flattening(), viewing()], colours.example) == torch.contiguous_format
    frozen = flattening().requires_grad_(requires_grad=False)
    assert common_layout([frozen], colours.example) == torch.channels_last


@pytest.mark.usefixtures("channels_last")
def test_finding_the_layout_changes_nothing(colours):
    model, before = flattening().eval(), torch.get_rng_state()
    decided = colours.laid_out_for(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert decided.laid_out_for(viewing()) is decided
    assert not model.training
    assert model.first.weight.is_contiguous()
    assert model.first.weight.grad is None


@pytest.mark.usefixtures("channels_last")
@pytest.mark.parametrize("make", [flattening, viewing])
def test_training_and_evaluation_keep_to_the_layout(colours, make):
    model = make()
    fit(model, colours, ONCE)
    evaluate(model, colours.valid)
    assert model.seen == {make is flattening}


@pytest.mark.usefixtures("channels_last")
def test_a_teacher_that_views_is_copied_and_laid_out_with_the_student(colours):
    teacher, seen = viewing().eval(), []
    teacher.register_forward_hook(lambda module, *_: seen.append(module))
    recipe = Recipe(distillation=Distillation(), training=Training(epochs=1, recovery_epochs=0))
    baseline = flattening().eval()
    compressed = compress(copy.deepcopy(baseline), recipe, colours, teacher=teacher)
    assert seen
    assert teacher not in seen
    assert compressed.model.first.weight.is_contiguous()
