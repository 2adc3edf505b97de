import copy

import numpy as np
import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph import Plan, rebuild
from autocompress.techniques.factorization import Factorization, factorize

LAYERS = {
    "linear": (nn.Linear(24, 20), (40, 24)),
    "tall linear": (nn.Linear(6, 40), (40, 6)),
    "tokens": (nn.Linear(24, 20), (8, 5, 24)),
    "pointwise": (nn.Conv2d(16, 20, 1), (6, 16, 7, 7)),
    "channel": (nn.Conv2d(6, 20, 3, stride=2, padding=1), (6, 6, 7, 7)),
    "tall channel": (nn.Conv2d(2, 40, 2, bias=False), (6, 2, 7, 7)),
}


def correlated(shape, axis):
    """Random inputs whose channels are far from equal and far from independent."""
    generator = torch.manual_seed(5)
    inputs = torch.randn(shape, generator=generator).movedim(axis, -1)
    mix = torch.randn(shape[axis], shape[axis], generator=generator)
    mix = mix * torch.logspace(0, -2, shape[axis])[:, None]
    return (inputs @ mix).movedim(-1, axis)


def settings_for(layer, rank, **more):
    key = "rank" if isinstance(layer, nn.Linear) else "convolution_rank"
    return Factorization(**{key: rank, "min_rank": 1, **more})


@pytest.mark.parametrize("kind", LAYERS)
def test_weighing_by_inputs_beats_the_plain_svd_on_calibration_data(kind):
    layer, shape = LAYERS[kind]
    model = nn.Sequential(layer)
    inputs = correlated(shape, 1 if isinstance(layer, nn.Conv2d) else -1)
    settings = settings_for(layer, 0.3)
    plain, _ = factorize(model, settings)
    weighted, _ = factorize(model, settings, example=inputs)
    with torch.no_grad():
        expected = model(inputs)
        errors = [(thin(inputs) - expected).norm().item() for thin in (plain, weighted)]
    assert errors[1] < 0.95 * errors[0]
    sizes = [sum(p.numel() for p in net.parameters()) for net in (model, plain, weighted)]
    assert sizes[1] == sizes[2] < sizes[0]


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_are_the_best_of_their_rank(kind):
    """Without calibration the product is NumPy's truncated SVD."""
    layer, _ = LAYERS[kind]
    thin = factorize(nn.Sequential(layer), settings_for(layer, 0.3))[0][0]
    matrix = layer.weight.detach().flatten(1).double().numpy()
    rank = thin[0].weight.shape[0]
    assert rank == round(0.3 * min(matrix.shape))
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    product = thin[1].weight.flatten(1).double() @ thin[0].weight.flatten(1).double()
    best = (u[:, :rank] * s[:rank]) @ v[:rank]
    np.testing.assert_allclose(product.detach().numpy(), best, atol=1e-6)


def test_the_weighted_product_is_the_closed_form():
    """With many samples: the SVD of W C^(1/2), times C^(-1/2)."""
    torch.manual_seed(0)
    layer = nn.Linear(8, 10).double()
    inputs = correlated((200_000, 8), -1).double()
    settings = Factorization(rank=0.375, min_rank=1)
    thin = factorize(nn.Sequential(layer), settings, example=inputs)[0][0]
    moment = (inputs.T @ inputs / len(inputs)).numpy()
    values, vectors = np.linalg.eigh(moment)
    root = (vectors * np.sqrt(values)) @ vectors.T
    u, s, v = np.linalg.svd(layer.weight.detach().numpy() @ root, full_matrices=False)
    best = (u[:, :3] * s[:3]) @ v[:3] @ np.linalg.inv(root)
    product = (thin[1].weight @ thin[0].weight).detach().numpy()
    error = np.linalg.norm((product - layer.weight.detach().numpy()) @ root)
    assert error == pytest.approx(
        np.linalg.norm((best - layer.weight.detach().numpy()) @ root), 1e-3
    )


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Linear(20, 20), "channel"),
        (nn.Conv2d(6, 8, 1), "channel"),
        (nn.Conv2d(6, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), "channel"),
        (nn.Conv2d(6, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), "spatial"),
        (nn.Conv2d(6, 8, 3, padding="same", padding_mode="reflect"), "spatial"),
    ],
)
def test_a_matrix_of_low_rank_is_replaced_exactly(layer, kind):
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():  # outer products: of rank 1 in every form
        for dim, size in enumerate(layer.weight.shape):
            factor = torch.randn(size, dtype=torch.float64)
            view = [-1 if d == dim else 1 for d in range(layer.weight.dim())]
            layer.weight.copy_(factor.view(view) * (layer.weight if dim else 1))
    shape = (3, 20) if isinstance(layer, nn.Linear) else (3, 6, 9, 9)
    inputs = torch.randn(shape, dtype=torch.float64)
    settings = Factorization(energy=1.0, convolution_energy=1.0, convolution_kind=kind, min_rank=1)
    model = nn.Sequential(layer)
    thin, report = factorize(model, settings)
    assert [step.rank for step in report.steps] == [1]
    with torch.no_grad():
        torch.testing.assert_close(thin(inputs), model(inputs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_energy_keeps_the_lowest_rank_that_is_enough(energy):
    torch.manual_seed(0)
    layer = nn.Linear(60, 50)
    with torch.no_grad():
        layer.weight *= torch.logspace(0, -3, 60)
    _, report = factorize(nn.Sequential(layer), Factorization(energy=energy, min_rank=1))
    s = np.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False) ** 2
    assert report.steps[0].rank == 1 + int((s.cumsum() < energy * s.sum()).sum())


@pytest.mark.parametrize("rank", [0.1, 0.4, 0.49, 0.51, 0.7, 1.0])
def test_no_layer_ever_grows(rank):
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 10), nn.Linear(10, 3))
    thin, report = factorize(model, Factorization(rank=rank, min_rank=1))
    for decision in report.decisions:
        layer = model.get_submodule(decision.module)
        size = layer.weight.numel()
        kept = max(1, round(rank * decision.full_rank))
        assert (decision.step is not None) == (kept * sum(layer.weight.shape) < size)
        assert decision.reason == "" or f"in place of {size}" in decision.reason
    assert sum(p.numel() for p in thin.parameters()) <= sum(p.numel() for p in model.parameters())


class Awkward(nn.Module):
    """Layers that cannot be factorized, for many reasons."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 8, 3)
        self.flat = nn.Conv1d(8, 8, 3)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.computed = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.tied = nn.Linear(16, 16)
        self.twin = nn.Linear(16, 16)
        self.twin.weight = self.tied.weight
        self.kept = nn.Linear(16, 16)
        self.unused = nn.Linear(16, 16)
        self.good = nn.Linear(16, 16)

    def forward(self, x):
        x, _ = self.attention(x, x, x)
        return self.good(self.kept(self.twin(self.tied(self.computed(x)))))


def test_every_layer_that_is_left_is_named_with_the_reason():
    model = Awkward().eval()
    settings = Factorization(rank=0.2, convolution_rank=0.2, exclude=("kept",), min_rank=1)
    inputs = torch.randn(3, 5, 16)
    thin, report = factorize(model, settings, example=inputs)
    decisions = {d.module: d for d in report.decisions}
    reasons = {name: d.reason for name, d in decisions.items() if d.step is None}
    assert set(reasons) == set(decisions) - {"good", "unused"}
    assert reasons["kept"] == "kept out by 'kept'"
    for name in ("grouped", "transposed", "flat"):
        assert "without groups" in reasons[name]
    assert "attention" in reasons["attention.out_proj"]
    assert "computed" in reasons["computed"]
    assert "shares" in reasons["tied"]
    assert "shares" in reasons["twin"]
    assert decisions["good"].weighted
    assert not decisions["unused"].weighted
    assert f"kept: left: {reasons['kept']}" in report.sentences
    thin(inputs)


def test_the_model_is_copied_and_the_plan_rebuilds_it():
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Linear(6, 16))

    model = build().train()
    model[0].eval()
    before = copy.deepcopy(model.state_dict())
    inputs = torch.randn(2, 3, 8, 8)
    settings = Factorization(rank=0.2, convolution_rank=0.2, min_rank=1)
    thin, report = factorize(model, settings, example=inputs)
    assert [m.training for m in model] == [False, True, True]
    assert not any(m._forward_hooks for m in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    fresh = build()
    rebuild(fresh, Plan.from_json(Plan(report.steps).to_json()))
    fresh.load_state_dict(thin.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(inputs), thin(inputs))


def test_no_layer_is_cut_below_the_lowest_rank():
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
    hidden, head = factorize(model, Factorization(rank=0.1, min_rank=16))[1].decisions
    assert hidden.step.rank == 16
    assert head.step is None


def test_a_zero_weight_is_no_obstacle():
    model = nn.Sequential(nn.Linear(8, 8))
    nn.init.zeros_(model[0].weight)
    for settings in (Factorization(energy=0.9, min_rank=1), Factorization(rank=0.2, min_rank=1)):
        thin, _ = factorize(model, settings, example=torch.randn(4, 8))
        assert torch.equal(thin(torch.ones(1, 8)), model(torch.ones(1, 8)))


def test_all_problems_of_the_settings_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Factorization(rank=0.0, energy=1.5, convolution_kind="tucker", exclude="fc", min_rank=0)
    assert len(caught.value.problems) == 6
    with pytest.raises(ConfigurationError, match="nothing to factorize"):
        Factorization()


def test_a_pattern_that_matches_nothing_is_reported():
    with pytest.raises(ConfigurationError, match="no layer of Sequential matches 'fc'"):
        factorize(nn.Sequential(nn.Linear(4, 4)), Factorization(rank=0.5, exclude=("fc",)))


def test_weights_that_are_not_finite_are_reported():
    model = nn.Sequential(nn.Linear(8, 8))
    nn.init.constant_(model[0].weight, float("nan"))
    with pytest.raises(UsageError, match="cannot factorize 0"):
        factorize(model, Factorization(rank=0.2, min_rank=1))
