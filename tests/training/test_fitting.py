import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError, DivergedError
from autocompress.metrics import Metric
from autocompress.tasks import Mean, Share
from autocompress.techniques.pruning import prune
from autocompress.training.callbacks import KnowledgeDistillation
from autocompress.training.evaluation import evaluate, reestimate_batch_norms
from autocompress.training.fitting import Fit, Monitor, Training, fit, seed_everything


def test_a_small_net_learns_the_digits(data, task, trained_vgg):
    assert evaluate(trained_vgg, data.valid, task)["accuracy"].value > 0.9


def test_the_same_seed_gives_the_same_weights(data, task, tiny_vgg):
    def train():
        seed_everything(5)
        model = copy.deepcopy(tiny_vgg)
        curve = fit(model, data, task, Fit("train", 1, 1e-2, 0.01), seed=5)
        return model.state_dict(), curve

    (first, curve), (second, again) = train(), train()
    assert curve == again
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_curve_has_one_record_per_epoch(data, task, tiny_vgg):
    received = []

    class Keeping(Monitor):
        def epoch(self, record, model):
            received.append(record)

    curve = fit(tiny_vgg, data, task, Fit("recover", 2, 1e-2, 0.0), seed=0, monitor=Keeping())
    assert [(r.stage, r.epoch) for r in curve] == [("recover", 1), ("recover", 2)]
    assert received == list(curve)
    assert curve[-1].score == pytest.approx(evaluate(tiny_vgg, data.valid, task)["accuracy"].value)


def test_no_epochs_change_nothing(data, task, tiny_vgg):
    before = copy.deepcopy(tiny_vgg.state_dict())
    assert fit(tiny_vgg, data, task, Fit("recover", 0, 1e-2, 0.0), seed=0) == ()
    assert all(torch.equal(before[name], t) for name, t in tiny_vgg.state_dict().items())


def test_a_loss_that_is_not_a_number_is_reported(data, task, tiny_vgg):
    with torch.no_grad():
        tiny_vgg.head.bias[0] = float("nan")
    with pytest.raises(DivergedError, match=r"epoch 1 of train"):
        fit(tiny_vgg, data, task, Fit("train", 1, 1e-2, 0.0), seed=0)


def test_every_parameter_moves_in_the_first_step_after_surgery(data, task, trained_vgg):
    with torch.no_grad():
        for tensor in (trained_vgg.features[0].weight, trained_vgg.features[0].bias):
            tensor[:4] = 0
        for tensor in (trained_vgg.features[1].weight, trained_vgg.features[1].bias):
            tensor[:4] = 0
    small, _ = prune(trained_vgg, example=data.example)
    assert small.features[0].out_channels == 8
    before = {name: p.detach().clone() for name, p in small.named_parameters()}
    fit(small, data, task, Fit("recover", 1, 1e-2, 0.0), seed=0)
    assert all(not torch.equal(before[name], p) for name, p in small.named_parameters())


def test_wrong_settings_are_reported_all_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Training(epochs=-1, learning_rate=0.0)
    assert len(caught.value.problems) == 2


def test_batch_norms_are_fitted_to_the_data(data):
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Flatten(), nn.Linear(64, 10))
    reestimate_batch_norms(model, data.valid)
    images = torch.cat([x for x, _ in data.valid]).double()
    means = [x.double().mean() for x, _ in data.valid]
    assert model[0].running_mean.item() == pytest.approx(
        torch.stack(means).mean().item(), abs=1e-6
    )
    assert model[0].running_var.item() == pytest.approx(images.var().item(), rel=0.05)
    assert model[0].momentum == 0.3


def test_evaluation_counts_correct_images(data, task):
    class Always7(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 7), 10).float()

    result = evaluate(Always7(), data.valid, task)["accuracy"]
    labels = torch.cat([y for _, y in data.valid])
    assert result.value == pytest.approx((labels == 7).float().mean().item())
    assert result.n == len(labels)


def test_a_score_that_is_not_a_number_ends_the_training(data, task, tiny_vgg):
    metric = Metric(name="odd", direction="minimize")
    odd = Mean(lambda outputs, targets: torch.full([len(targets)], torch.nan), metric)
    with pytest.raises(DivergedError, match=r"epoch 1 of train: expected finite .* score nan"):
        fit(tiny_vgg, data, replace(task, scores=(odd,)), Fit("train", 1, 1e-3, 0.0), seed=0)


class ManyOutputs(nn.Module):
    """Returns its logits in a dictionary, as segmentation networks of torchvision do."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return {"out": self.model(images)}


def test_a_teacher_may_put_out_a_dictionary(data, task, tiny_vgg):
    first = lambda outputs: outputs["out"]  # noqa: E731
    own = replace(
        task,
        loss=lambda outputs, targets: task.loss(first(outputs), targets),
        scores=[
            Share(lambda o, t: first(o).argmax(1) == t, Metric(name="right", direction="maximize"))
        ],
        distilled=first,
    )
    model = ManyOutputs(tiny_vgg)
    distil = KnowledgeDistillation(copy.deepcopy(model), outputs=first)
    curve = fit(model, data, own, Fit("train", 1, 1e-3, 0.0), seed=0, callbacks=[distil])
    assert len(curve) == 1
