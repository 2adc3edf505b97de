"""Folding on nets that each have one difficulty; what is exact is folded, the rest is named."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from autocompress.errors import VerificationError
from autocompress.graph import Plan, largest_difference, rebuild
from autocompress.graph.plan import Fold
from autocompress.techniques.folding import fold_batch_norms

from small_nets import randomize_norms

IMAGES = torch.randn(3, 4, 9, 9, generator=torch.manual_seed(1))
VECTORS = torch.randn(5, 6, generator=torch.manual_seed(1))


class Net(nn.Module):
    """A net whose forward pass is given as a function of its modules and the input."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


class NormWithActivation(nn.BatchNorm2d):
    """A batch norm that carries an activation, as timm's BatchNormAct2d."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class NormWithMore(nn.BatchNorm2d):
    """A batch norm that does more than its children tell."""

    def forward(self, x):
        return super().forward(x) + 1


def conv(i=4, o=6, k=3, **more):
    return nn.Conv2d(i, o, k, **more)


def tied():
    first, second = conv(4, 4, 1), conv(4, 4, 1)
    second.weight = first.weight
    return first, second


ALL = {  # name: (net, input): every batch norm folds
    "convolution": (nn.Sequential(conv(), nn.BatchNorm2d(6), nn.ReLU()), IMAGES),
    "no bias": (nn.Sequential(conv(bias=False, groups=2), nn.BatchNorm2d(6)), IMAGES),
    "depthwise": (nn.Sequential(conv(4, 8, groups=4), nn.BatchNorm2d(8)), IMAGES),
    "1d": (nn.Sequential(nn.Conv1d(9, 6, 3), nn.BatchNorm1d(6)), IMAGES[:, 0]),
    "3d": (nn.Sequential(nn.Conv3d(3, 6, 3), nn.BatchNorm3d(6)), torch.randn(2, 3, 5, 5, 5)),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6)), IMAGES),
    "transposed grouped": (
        nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)),
        IMAGES,
    ),
    "linear": (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)), VECTORS),
    "tokens": (
        Net(
            lambda net, x: net.norm(net.fc(x).flatten(0, 1)).reshape_as(net.fc2(x)),
            fc=nn.Linear(9, 8),
            fc2=nn.Linear(9, 8),
            norm=nn.BatchNorm1d(8),
        ),
        IMAGES[:, 0],
    ),
    "no affine": (nn.Sequential(conv(), nn.BatchNorm2d(6, affine=False)), IMAGES),
    "dropout between": (nn.Sequential(conv(), nn.Dropout2d(), nn.BatchNorm2d(6)), IMAGES),
    "activation inside": (nn.Sequential(conv(), NormWithActivation(6)), IMAGES),
    "two in a row": (nn.Sequential(conv(), nn.BatchNorm2d(6), nn.BatchNorm2d(6)), IMAGES),
    "read twice": (
        Net(lambda net, x: (y := net.b(net.a(x))) * y.sigmoid(), a=conv(), b=nn.BatchNorm2d(6)),
        IMAGES,
    ),
    "norm first": (nn.Sequential(nn.BatchNorm2d(4), conv()), IMAGES),
    "norm first, grouped": (nn.Sequential(nn.BatchNorm2d(4), conv(groups=2)), IMAGES),
    "norm first, reflecting": (
        nn.Sequential(nn.BatchNorm2d(4), conv(padding=1, padding_mode="reflect")),
        IMAGES,
    ),
    "norm first, linear": (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8)), VECTORS),
    "norm first, dropout": (
        nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 8)),
        VECTORS,
    ),
    "norm first, several readers": (
        Net(
            lambda net, x: net.b(y := net.a(x)) + net.c(y),
            a=nn.BatchNorm2d(4),
            b=conv(4, 6, 1),
            c=conv(4, 6, 1, bias=False),
        ),
        IMAGES,
    ),
    "on both sides": (nn.Sequential(nn.BatchNorm2d(4), conv(), nn.BatchNorm2d(6)), IMAGES),
    "pre-activation": (
        nn.Sequential(conv(4, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(), nn.BatchNorm2d(6)),
        IMAGES,
    ),
}
REST = {  # name: (net, input, norms that stay and a word of the reason)
    "zero padding": (
        nn.Sequential(nn.BatchNorm2d(4), conv(padding=1)),
        IMAGES,
        {"0": "zeros at the border"},
    ),
    "transposed after": (
        nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3)),
        IMAGES,
        {"0": "zeros at the border"},
    ),
    "activation between": (
        nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU()),
        IMAGES,
        {"2": "relu in 1"},
    ),
    "layer read twice": (
        Net(lambda net, x: (y := net.a(x)) + net.b(y), a=conv(), b=nn.BatchNorm2d(6)),
        IMAGES,
        {"b": "not alone"},
    ),
    "one reader is no layer": (
        Net(
            lambda net, x: net.b(y := net.a(x)) + y,
            a=nn.BatchNorm2d(4),
            b=conv(4, 4, 1),
        ),
        IMAGES,
        {"a": "add"},
    ),
    "one reader pads": (
        Net(
            lambda net, x: net.b(y := net.a(x)) + net.c(y),
            a=nn.BatchNorm2d(4),
            b=conv(4, 6, 1),
            c=conv(padding=1),
        ),
        IMAGES,
        {"a": "c sees zeros"},
    ),
    "concatenation": (
        Net(
            lambda net, x: net.norm(torch.cat([net.a(x), net.b(x)], 1)),
            a=conv(),
            b=conv(),
            norm=nn.BatchNorm2d(12),
        ),
        IMAGES,
        {"norm": "cat"},
    ),
    "layer runs twice": (
        Net(
            lambda net, x: net.norm(net.a(x)) + net.a(2 * x),
            a=conv(),
            norm=nn.BatchNorm2d(6),
        ),
        IMAGES,
        {"norm": "a runs more than once"},
    ),
    "norm runs twice": (
        Net(
            lambda net, x: net.norm(net.a(x)) + net.norm(net.b(x)),
            a=conv(),
            b=conv(),
            norm=nn.BatchNorm2d(6),
        ),
        IMAGES,
        {"norm": "it runs more than once"},
    ),
    "tied weights": (
        Net(
            lambda net, x: net.norm(net.a(x)) + net.b(x).relu(),
            **dict(zip("ab", tied(), strict=True)),
            norm=nn.BatchNorm2d(4),
        ),
        IMAGES,
        {"norm": "shares"},
    ),
    "computed weight": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), nn.BatchNorm2d(6)),
        IMAGES,
        {"1": "computed"},
    ),
    "batch statistics": (
        nn.Sequential(conv(), nn.BatchNorm2d(6, track_running_stats=False)),
        IMAGES,
        {"1": "statistics of the batch"},
    ),
    "read from outside": (
        Net(
            lambda net, x: F.batch_norm(net.a(x), net.b.running_mean, net.b.running_var),
            a=conv(),
            b=nn.BatchNorm2d(6),
        ),
        IMAGES,
        {"b": "does not reach", "": "outside"},
    ),
    "more than a norm": (
        nn.Sequential(conv(), NormWithMore(6)),
        IMAGES,
        {"1": "more than to normalise"},
    ),
    "not reached": (
        Net(lambda net, x: net.a(x), a=conv(), b=nn.BatchNorm2d(6)),
        IMAGES,
        {"b": "does not reach"},
    ),
    "other axis": (
        nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9)),
        IMAGES[0].repeat(1, 3, 1)[:, :9],
        {"1": "another axis"},
    ),
    "sequence axis": (
        nn.Sequential(nn.Linear(9, 8), nn.BatchNorm1d(9)),
        IMAGES[:, 0],
        {"1": "another axis"},
    ),
    "dense block": (
        Net(
            lambda net, x: torch.cat([x, net.b(net.n2(net.a(net.n1(x).relu())).relu())], 1),
            n1=nn.BatchNorm2d(4),
            a=conv(4, 8, 1, bias=False),
            n2=nn.BatchNorm2d(8),
            b=conv(8, 3, 3, padding=1, bias=False),
        ),
        IMAGES,
        {"n1": "relu"},
    ),
}
CASES = {**{name: (*case, {}) for name, case in ALL.items()}, **REST}


def norms(model):
    return {name for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    model, inputs, kept = CASES[request.param]
    return randomize_norms(copy.deepcopy(model)).eval().double(), inputs.double(), kept


def test_outputs_stay_and_what_cannot_fold_is_named(case):
    model, inputs, kept = case
    before = copy.deepcopy(model.state_dict())
    folded, found = fold_batch_norms(model, example=inputs)
    assert set(found.kept) == set(kept)
    assert all(word in found.kept[name] for name, word in kept.items())
    assert {
        n for n, m in folded.named_modules() if type(m).__name__.startswith("BatchNorm")
    } <= set(kept)
    assert norms(folded) == set(kept) - {""}
    assert largest_difference(model, folded, inputs) < 1e-12
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_plan_rebuilds_the_folded_model(case):
    model, inputs, _ = case
    folded, report = fold_batch_norms(model, example=inputs)
    fresh = copy.deepcopy(model)
    rebuild(fresh, Plan.from_json(Plan(report.steps).to_json()))
    fresh.load_state_dict(folded.state_dict())
    assert largest_difference(folded, fresh, inputs) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_keeps_its_precision_and_its_modes(dtype):
    model = randomize_norms(ALL["pre-activation"][0]).to(dtype).train()
    model[2].eval()
    folded, _ = fold_batch_norms(model, example=IMAGES.to(dtype))
    assert {p.dtype for p in folded.parameters()} == {dtype}
    assert [m.training for m in folded] == [True, True, False, True, True]
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    assert largest_difference(model, folded, IMAGES.to(dtype)) < tolerance


def test_a_folding_that_changes_outputs_is_caught():
    """The norm reads what the activation makes of the convolution."""
    model = randomize_norms(nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(6))).eval()
    with pytest.raises(VerificationError, match="fold: outputs before and after differ"):
        fold_batch_norms(model, example=IMAGES, steps=[Fold("0", "2")])


def test_weights_that_overflow_are_caught():
    model = copy.deepcopy(ALL["convolution"][0]).half().eval()
    with torch.no_grad():
        model[1].running_var.fill_(1e-7)
        model[1].eps = 1e-12
        model[1].weight.fill_(6e4)
    with pytest.raises(VerificationError, match="0 are not finite"):
        fold_batch_norms(model, example=IMAGES.half())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"), [("resnet18", 0), ("densenet121", 62), ("mobilenet_v3_small", 0)]
)
def test_known_architectures_fold_to_rounding(name, left):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = randomize_norms(torchvision.models.get_model(name)).eval().double()
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    folded, _ = fold_batch_norms(model, example=inputs)
    assert len(norms(folded)) == left
    assert largest_difference(model, folded, inputs) < 1e-9
