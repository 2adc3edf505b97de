"""Networks train with channels last where that is wanted and they can."""

import pytest
import torch
from torch import nn

from autocompress.data import BatchSettings, Images, Splits, make_data
from autocompress.tasks import classification
from autocompress.training.callbacks import KnowledgeDistillation
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Fit, fit
from autocompress.training.layout import common_layout, fastest_layout

LAST = torch.channels_last
ONCE = Fit("train", 1, 1e-2, 0.0, layout=LAST)
TASK = classification(4)


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
def colours():
    images = torch.randint(0, 256, (16, 3, 8, 8), generator=torch.manual_seed(0)).byte()
    part = Images(images, torch.arange(16) % 4)
    splits = Splits(
        train=part, valid=part, test=part, classes=("a", "b", "c", "d"), channels=3, image_size=8,
        mean=(0.5,) * 3, std=(0.3,) * 3,
    )  # fmt: skip
    return make_data(splits, BatchSettings(batch_size=8), device="cpu")


def test_gpus_are_fastest_with_channels_last():
    assert fastest_layout(torch.device("cuda")) == torch.channels_last
    assert fastest_layout(torch.device("cpu")) == torch.contiguous_format


def test_one_network_that_views_brings_all_back_to_channels_first(colours):
    images = colours.example
    assert common_layout([flattening(), flattening()], images, LAST) == LAST
    assert common_layout([flattening(), viewing()], images, LAST) == torch.contiguous_format
    frozen = flattening().requires_grad_(requires_grad=False)
    assert common_layout([frozen], images, LAST) == LAST


def test_inputs_that_are_no_images_have_one_layout():
    assert common_layout([nn.Linear(3, 2)], torch.zeros(4, 3), LAST) == torch.contiguous_format


def test_finding_the_layout_changes_nothing(colours):
    model, before = flattening().eval(), torch.get_rng_state()
    common_layout([model], colours.example, LAST)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert model.first.weight.is_contiguous()
    assert model.first.weight.grad is None


@pytest.mark.parametrize("make", [flattening, viewing])
def test_training_and_evaluation_keep_to_the_layout(colours, make):
    model = make()
    fit(model, colours, TASK, ONCE, seed=0)
    evaluate(model, colours.valid, TASK)
    assert model.seen == {make is flattening}


@pytest.mark.parametrize("make", [flattening, viewing])
def test_a_teacher_is_laid_out_with_the_student(colours, make):
    student, teacher = flattening(), make().eval()
    fit(student, colours, TASK, ONCE, seed=0, callbacks=[KnowledgeDistillation(teacher)])
    assert teacher.seen == student.seen == {make is flattening}


def test_without_a_wish_the_layout_is_the_fastest_of_the_device(colours):
    model = flattening()
    fit(model, colours, TASK, Fit("train", 1, 1e-2, 0.0), seed=0)
    assert model.seen == {False}  # on the CPU
