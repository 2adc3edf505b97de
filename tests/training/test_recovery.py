"""After surgery, training moves the parameters that are there, on networks of five kinds."""

import pytest
import torch
from fastai.callback.core import Callback
from torchvision.models import DenseNet, MobileNetV2, ShuffleNetV2, VisionTransformer

from autocompress.data import BatchSettings, Images, Splits, make_data
from autocompress.graph import find_units
from autocompress.models import build
from autocompress.tasks import classification
from autocompress.techniques.pruning import prune
from autocompress.techniques.sparsification import Sparsification, sparsify
from autocompress.training.fitting import Fit, fit

NETS = {
    "residual": lambda: build("autocompress:resnet_small", num_classes=4, channels=3),
    "depthwise": lambda: MobileNetV2(num_classes=4, width_mult=0.25),
    "concatenated": lambda: DenseNet(8, (2, 2), 16, num_classes=4),
    "shuffled": lambda: ShuffleNetV2([1, 2, 1], [8, 16, 32, 64, 64], num_classes=4),
    "attention": lambda: VisionTransformer(32, 8, 2, 2, 32, 48, num_classes=4),
}


class FirstStep(Callback):
    """Keeps the optimizer's parameters, and values and gradients around the first step."""

    order = 50

    def before_fit(self):
        self.trained = {id(p) for p in self.learn.opt.all_params().itemgot(0)}

    def before_step(self):
        self.gradients = {n: p.grad.clone() for n, p in self.learn.model.named_parameters()}
        self.before = {n: p.detach().clone() for n, p in self.learn.model.named_parameters()}

    def after_step(self):
        self.after = {n: p.detach().clone() for n, p in self.learn.model.named_parameters()}


@pytest.fixture(scope="module")
def noise():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 3, 32, 32), generator=generator).byte()
    part = Images(images, torch.arange(16) % 4)
    names = ("a", "b", "c", "d")
    splits = Splits(
        train=part, valid=part, test=part, classes=names, channels=3, image_size=32,
        mean=(0.5,) * 3, std=(0.3,) * 3,
    )  # fmt: skip
    return make_data(splits, BatchSettings(batch_size=16), device="cpu")


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_moves_in_the_first_step(name, noise):
    torch.manual_seed(0)
    model = NETS[name]().eval()
    units = find_units(model, noise.example)
    settings = Sparsification(sparsity=0.3, linear_sparsity=0.3)
    sparse, _ = sparsify(model, settings, units=units)
    small, _ = prune(sparse, example=noise.example, units=units)
    count = sum(p.numel() for p in small.parameters())
    assert count < sum(p.numel() for p in model.parameters())
    if name == "attention":  # its classifier starts at zero, which blocks the first gradient
        torch.nn.init.normal_(small.heads.head.weight, std=0.1)

    watch = FirstStep()
    fit(small, noise, classification(4), Fit("recover", 1, 1e-2, 0.0), seed=0, callbacks=[watch])

    assert watch.trained == {id(p) for p in small.parameters()}
    before, after = watch.before, watch.after
    flows = {name for name, gradient in watch.gradients.items() if bool(gradient.any())}
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == flows == set(after)
