import pytest
import torch
from torchvision.models import VisionTransformer

from autocompress import models
from autocompress.graph import LowRank, Plan, largest_difference
from autocompress.techniques.analysis import analyze
from autocompress.techniques.factorization import Factorization, factorize
from autocompress.techniques.folding import fold_batch_norms, foldable
from autocompress.techniques.pruning import prune
from autocompress.techniques.sparsification import Sparsification, sparsify

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.manual_seed(1))


@pytest.mark.parametrize("name", ["autocompress:resnet_small", "torchvision:shufflenet_v2_x0_5"])
def test_what_folds_in_a_model_also_folds_once_units_are_gone(name):
    torch.manual_seed(0)
    model = models.build(name, {}, num_classes=10, channels=3).eval()
    analysis = analyze(model, IMAGES)
    assert analysis.folds
    sparse, _ = sparsify(model, Sparsification(sparsity=0.5), units=analysis.units)
    small, _ = prune(sparse, example=IMAGES, units=analysis.units)
    assert foldable(small, IMAGES).steps == analysis.folds
    folded, _ = fold_batch_norms(small, example=IMAGES, steps=analysis.folds)
    assert largest_difference(small, folded, IMAGES) < 1e-5
    kinds = [type(module).__name__ for module in folded.modules()]
    assert kinds.count("BatchNorm2d") == 0


@pytest.mark.parametrize("kind", ["channel", "spatial"])
@pytest.mark.parametrize(
    "name",
    [
        "autocompress:resnet_small",
        "torchvision:shufflenet_v2_x0_5",
        pytest.param("torchvision:densenet121", marks=pytest.mark.slow),
    ],
)
def test_what_folds_in_a_model_folds_into_its_factors(name, kind):
    torch.manual_seed(0)
    model = models.build(name, {}, num_classes=10, channels=3).eval()
    analysis = analyze(model, IMAGES)
    wide = Factorization(convolution_rank=0.6, convolution_kind=kind)
    once, first = factorize(model, wide)
    thin, second = factorize(once, Factorization(convolution_rank=0.4, min_rank=1))
    plan = Plan(first.steps).then(*second.steps)
    cut = [step.module for step in plan.steps if isinstance(step, LowRank)]
    assert any(f"{module}.{part}" in cut for module in cut for part in "01")
    assert analysis.folds_after(plan) == foldable(thin, IMAGES).steps != analysis.folds


def test_a_model_without_batch_norms_has_none_to_fold():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).eval()
    assert analyze(model, IMAGES).folds == ()


def signature(group):
    members = [(m.tensor, m.dim, m.role, m.indices.tolist()) for m in group.members]
    return group.kind, group.size, group.reasons, group.sizes, sorted(members)


def shrunk(model, analysis, sparsity=0.5):
    settings = Sparsification(sparsity=sparsity, linear_sparsity=sparsity)
    sparse, _ = sparsify(model, settings, units=analysis.units)
    return prune(sparse, example=IMAGES, units=analysis.units)


def build(name):
    torch.manual_seed(0)
    if name == "attention":
        return VisionTransformer(32, 8, 2, 4, 32, 48, num_classes=10).eval()
    return models.build(name, {}, num_classes=10, channels=3).eval()


SHUFFLENET = pytest.param("torchvision:shufflenet_v2_x0_5", marks=pytest.mark.slow)
NAMES = ("autocompress:resnet_small", SHUFFLENET, "attention")


@pytest.mark.parametrize("name", NAMES)
def test_the_units_of_a_descendant_follow_from_the_plan(name):
    """They are those that the smaller model has when it is analysed anew, one after another."""
    model = build(name)
    analysis, plan = analyze(model, IMAGES), Plan()
    small, here = model, analysis
    for sparsity in (0.4, 0.9):
        small, report = shrunk(small, here, sparsity)
        plan = plan.then(*report.steps)
        here = analysis.after(plan, small)
        anew = analyze(small, IMAGES)
        assert [*map(signature, here.units.removable)] == [*map(signature, anew.units.removable)]
        assert here.folds == anew.folds
    assert here.after(Plan(), small).units == here.units


@pytest.mark.parametrize("name", ["autocompress:resnet_small", "attention"])
def test_a_factorized_descendant_is_pruned_exactly(name):
    model = build(name)
    analysis = analyze(model, IMAGES)
    thin, report = factorize(model, Factorization(rank=0.3, convolution_rank=0.3, min_rank=1))
    here = analysis.after(Plan(report.steps), thin)
    _, report = shrunk(thin, here)
    assert report.steps
    assert not report.refused


def test_a_folded_descendant_is_analysed_anew():
    model = build("autocompress:resnet_small")
    analysis = analyze(model, IMAGES)
    folded, report = fold_batch_norms(model, example=IMAGES)
    here = analysis.after(Plan(report.steps), folded)
    assert here.folds == ()
    assert [*map(signature, here.units)] == [*map(signature, analyze(folded, IMAGES).units)]
