import copy
import functools

import fastai.callback.fp16
import pytest
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from autocompress.errors import ConfigurationError, UsageError
from autocompress.training.callbacks import HoldZeros, KnowledgeDistillation, Sparsify

from tiny_models import TinyVgg


@pytest.fixture
def learner(data, tiny_vgg):
    made = Learner(
        DataLoaders(data.train(0), data.valid),
        tiny_vgg,
        loss_func=CrossEntropyLossFlat(),
        default_cbs=True,
    )
    made.logger = lambda _: None
    return made


def test_sparsify_reaches_its_target_and_keeps_it(learner):
    callback = Sparsify(0.5, granularity="filter", criterion="large_final", schedule="cosine")
    learner.fit(2, 1e-2, cbs=[callback])
    first, second = learner.model.features[0], learner.model.features[4]
    for layer, norm in ((first, learner.model.features[1]), (second, learner.model.features[5])):
        dead = layer.weight.flatten(1).abs().sum(1) == 0
        assert int(dead.sum()) == layer.out_channels // 2
        assert bool((layer.bias[dead] == 0).all())
        assert bool((norm.weight[dead] == 0).all())
        assert bool((norm.bias[dead] == 0).all())


def test_sparsity_grows_with_the_schedule(learner):
    seen = []

    class Watch(Sparsify):
        def after_epoch(self):
            weight = self.learn.model.features[4].weight
            seen.append(float((weight == 0).float().mean()))

    learner.fit(3, 1e-2, cbs=[Watch(0.6, granularity="weight", schedule="linear")])
    assert 0 < seen[0] < seen[1] < seen[2] <= 0.6 + 1e-3


def test_hooks_and_resources_are_gone_after_a_fit(learner):
    teacher = copy.deepcopy(learner.model)
    callbacks = [Sparsify(0.5), KnowledgeDistillation(teacher, loss="attention_transfer")]
    learner.fit(1, 1e-2, cbs=callbacks)
    for model in (learner.model, teacher):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_distillation_mixes_both_losses(learner):
    torch.manual_seed(1)
    teacher = copy.deepcopy(learner.model).eval()
    losses = []

    class Watch(KnowledgeDistillation):
        def after_loss(self):
            plain = self.learn.loss_grad.detach().clone()
            super().after_loss()
            if self.training:
                outputs = self.learn.pred.detach().double()
                with torch.no_grad():
                    wanted = teacher(self.learn.xb[0]).double()
                soft = kl_div(
                    log_softmax(outputs / 3, 1), softmax(wanted / 3, 1), reduction="batchmean"
                )
                task = cross_entropy(outputs, self.learn.yb[0])
                assert plain.item() == pytest.approx(task.item(), rel=1e-4)
                expected = 0.25 * task + 0.75 * 9 * soft
                losses.append((self.learn.loss_grad.item(), expected.item()))

    learner.fit(1, 1e-2, cbs=[Watch(teacher, weight=0.75, temperature=3.0)])
    assert losses
    for got, expected in losses:
        assert got == pytest.approx(expected, rel=1e-4)


def test_the_teacher_stays_as_it_was(learner):
    teacher = copy.deepcopy(learner.model).train()
    before = copy.deepcopy(teacher.state_dict())
    learner.fit(1, 1e-2, cbs=[KnowledgeDistillation(teacher)])
    assert all(torch.equal(before[name], t) for name, t in teacher.state_dict().items())
    assert teacher.training


def test_fitnet_projections_are_trained(learner):
    torch.manual_seed(2)
    callback = KnowledgeDistillation(TinyVgg(width=20), loss="feature")
    start = {}

    class Remember(KnowledgeDistillation):
        def before_fit(self):
            super().before_fit()
            start.update(enumerate(p.detach().clone() for p in self.distiller.parameters()))

    callback = Remember(TinyVgg(width=20), loss="feature")
    learner.fit(1, 1e-2, cbs=[callback])
    assert start
    moved = list(callback.distiller.parameters())
    assert all(not torch.equal(start[i], p) for i, p in enumerate(moved))


def test_zeros_are_held(learner):
    weight = learner.model.features[4].weight
    with torch.no_grad():
        weight[:, :5] = 0
    learner.fit(1, 1e-2, cbs=[HoldZeros()])
    assert bool((weight[:, :5] == 0).all())
    assert bool((weight[:, 5:] != 0).any())


def test_a_teacher_that_is_no_network_is_refused():
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module, got NoneType"):
        KnowledgeDistillation(None)


def test_settings_and_single_values_exclude_each_other():
    with pytest.raises(TypeError, match="not both"):
        Sparsify(0.5, settings=object())


def test_an_unknown_criterion_is_reported(learner):
    with pytest.raises(ConfigurationError, match="large_final"):
        learner.fit(1, 1e-2, cbs=[Sparsify(0.5, criterion="large_finale")])


@pytest.fixture
def float16(monkeypatch):
    """fastai's float16 training, on the CPU, from a scale at which gradients overflow."""
    for name, original in (("autocast", torch.autocast), ("GradScaler", torch.amp.GradScaler)):
        on_cpu = functools.partial(lambda make, _device, **more: make("cpu", **more), original)
        monkeypatch.setattr(fastai.callback.fp16, name, on_cpu)
    return MixedPrecision(init_scale=2.0**24)


def test_a_criterion_sees_unscaled_gradients_in_a_float16_fit(learner, float16):
    callback = Sparsify(0.5, criterion="taylor", granularity="filter", schedule="linear")
    learner.fit(1, 1e-2, cbs=[callback, float16])
    weight = learner.model.features[0].weight
    assert bool(torch.isfinite(weight).all())
    assert int((weight.flatten(1).abs().sum(1) == 0).sum()) == len(weight) // 2


def test_projections_survive_skipped_steps_of_a_float16_fit(learner, float16):
    callback = KnowledgeDistillation(TinyVgg(width=20), loss="feature")
    learner.fit(1, 1e-2, cbs=[callback, float16])
    assert all(bool(torch.isfinite(p).all()) for p in callback.distiller.parameters())
