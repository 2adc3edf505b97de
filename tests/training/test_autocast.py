import copy
import math

import pytest
import torch
from torch import nn

from autocompress.errors import DivergedError
from autocompress.training.callbacks import KnowledgeDistillation
from autocompress.training.fitting import Fit, fit
from autocompress.training.precision import trains_in_bfloat16

ONCE = Fit("train", 1, 1e-2, 0.0)
IN_BFLOAT16 = Fit("train", 1, 1e-2, 0.0, bfloat16=True)  # as on a GPU that computes in it


def formats_of(model):
    """Collect the number formats that a layer puts out."""
    found = set()
    model.features[0].register_forward_hook(lambda _, __, output: found.add(output.dtype))
    return found


def test_only_gpus_that_know_bfloat16_train_in_it(monkeypatch):
    assert not trains_in_bfloat16(torch.device("cpu"))
    for known in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda known=known, **_: known)
        assert trains_in_bfloat16(torch.device("cuda")) == known


def test_a_fit_computes_in_bfloat16_and_keeps_float32(data, task, tiny_vgg):
    formats = formats_of(tiny_vgg)
    callbacks = [KnowledgeDistillation(copy.deepcopy(tiny_vgg))]
    curve = fit(tiny_vgg, data, task, IN_BFLOAT16, seed=0, callbacks=callbacks)
    assert formats == {torch.float32, torch.bfloat16}  # float32: the distiller compares outputs
    assert {p.dtype for p in tiny_vgg.parameters()} == {torch.float32}
    assert math.isfinite(curve[-1].train_loss)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory")], ids=["nan", "oom"])
def test_a_fit_that_fails_halfway_leaves_autocast(data, task, tiny_vgg, error):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_vgg

        def forward(self, images):
            outputs = self.net(images)
            if error is not None:
                raise error
            return outputs * math.nan

    with pytest.raises(DivergedError if error is None else RuntimeError):
        fit(Broken(), data, task, IN_BFLOAT16, seed=0)
    assert not torch.is_autocast_enabled("cpu")
    assert tiny_vgg(data.example).dtype == torch.float32


def test_a_teacher_that_makes_the_loss_nan_is_noticed_before_the_student_moves(
    data, task, tiny_vgg
):
    teacher = copy.deepcopy(tiny_vgg)
    with torch.no_grad():
        teacher.head.bias[0] = math.nan
    with pytest.raises(DivergedError, match="epoch 1 of train"):
        fit(tiny_vgg, data, task, ONCE, seed=0, callbacks=[KnowledgeDistillation(teacher)])
    assert all(bool(torch.isfinite(p).all()) for p in tiny_vgg.parameters())
