import pytest
import torch

from autocompress import models
from autocompress.graph import largest_difference
from autocompress.techniques.anatomy import examine
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


def test_a_model_without_batch_norms_has_none_to_fold():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).eval()
    assert examine(model, IMAGES).folds == ()
