import pytest
import torch

from autocompress import models
from autocompress.graph import LowRank, largest_difference, plan_of
from autocompress.techniques.anatomy import examine
from autocompress.techniques.factorization import Factorization, factorize
from autocompress.techniques.folding import fold_batch_norms, foldable
from autocompress.techniques.pruning import prune
from autocompress.techniques.sparsification import Sparsification, sparsify

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.manual_seed(1))


@pytest.mark.parametrize("name", ["autocompress:resnet_small", "torchvision:shufflenet_v2_x0_5"])
def test_what_folds_in_a_model_also_folds_once_units_are_gone(name):
    torch.manual_seed(0)
    model = models.build(name, {}, num_classes=10, channels=3).eval()
    anatomy = examine(model, IMAGES)
    assert anatomy.folds
    sparse = sparsify(model, Sparsification(sparsity=0.5), anatomy.units.groups)
    small = prune(sparse, IMAGES, units=anatomy.units.groups)
    assert foldable(small, IMAGES).steps == anatomy.folds
    folded = fold_batch_norms(small, IMAGES, steps=anatomy.folds)
    assert largest_difference(small, folded, IMAGES) < 1e-5
    kinds = [type(module).__name__ for module in folded.modules()]
    assert kinds.count("BatchNorm2d") == 0


@pytest.mark.parametrize("kind", ["channel", "spatial"])
@pytest.mark.parametrize("name", ["autocompress:resnet_small", "torchvision:densenet121"])
def test_what_folds_in_a_model_folds_into_its_factors(name, kind):
    torch.manual_seed(0)
    model = models.build(name, {}, num_classes=10, channels=3).eval()
    anatomy = examine(model, IMAGES)
    wide = Factorization(convolution_rank=0.6, convolution_kind=kind)
    thin = factorize(factorize(model, wide), Factorization(convolution_rank=0.4, min_rank=1))
    cut = [step.module for step in plan_of(thin).steps if isinstance(step, LowRank)]
    assert any(f"{module}.{part}" in cut for module in cut for part in "01")
    assert anatomy.folds_after(plan_of(thin)) == foldable(thin, IMAGES).steps != anatomy.folds


def test_a_model_without_batch_norms_has_none_to_fold():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).eval()
    assert examine(model, IMAGES).folds == ()
