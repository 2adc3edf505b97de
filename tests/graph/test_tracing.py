import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from autocompress.errors import UsageError
from autocompress.graph import trace
from autocompress.graph.tracing import module_of, named_tensors, shared_copy


def net():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model.add_module("again", model[0].__class__(4, 4, 1))
    return model


def test_placeholders_have_the_models_own_names():
    model = net()
    found = trace(model, torch.rand(2, 3, 8, 8))
    names = {found.name_of(node) for node in found.graph.nodes} - {None}
    assert names == set(model.state_dict())
    parameters = {found.name_of(node) for node in found.graph.nodes if found.is_parameter(node)}
    assert parameters == {name for name, _ in model.named_parameters()}
    assert found.tensors["0.weight"] is model[0].weight


def test_tied_parameters_have_one_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    found = trace(model, torch.rand(2, 4))
    names = [found.name_of(node) for node in found.graph.nodes if found.is_parameter(node)]
    assert "1.weight" not in names
    assert "0.weight" in names


def test_modules_of_nodes():
    found = trace(net(), torch.rand(2, 3, 8, 8))
    convolution = next(n for n in found.graph.nodes if "conv2d" in str(n.target))
    (norm,) = convolution.users
    assert "batch_norm" in str(norm.target)
    assert [module_of(convolution), module_of(norm)] == ["0", "1"]


def test_the_model_stays_as_it_is():
    model = net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    trace(model, torch.rand(2, 3, 8, 8))
    assert all(module.training for module in model.modules())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_images_that_do_not_fit_are_a_clear_error():
    with pytest.raises(
        UsageError, match=r"cannot take the example inputs \[2, 5, 8, 8\]"
    ) as error:
        trace(net(), torch.rand(2, 5, 8, 8))
    assert isinstance(error.value.__cause__, RuntimeError)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_model_that_cannot_be_exported_is_a_clear_error():
    with pytest.raises(UsageError, match=r"torch.export cannot trace Branching") as error:
        trace(Branching(), torch.rand(2, 3))
    assert error.value.__cause__ is not None


def test_a_shared_copy_shares_tensors_but_not_modes():
    model = net().train()
    copied = shared_copy(model)
    assert not copied.training
    assert model.training
    assert all(named_tensors(copied)[name] is t for name, t in named_tensors(model).items())


@pytest.mark.parametrize("kind", ["pruned", "normalised"])
def test_weights_that_a_hook_computes_are_reported(kind):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    if kind == "pruned":
        prune.ln_structured(model[0], "weight", 0.5, 2, dim=0)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.nn.utils.weight_norm(model[0])
    with pytest.raises(UsageError, match=r"0\.weight is computed by a hook.*prune\.remove"):
        trace(model, torch.rand(1, 3, 8, 8))
    if kind == "pruned":
        torch.nn.utils.prune.remove(model[0], "weight")
        trace(model, torch.rand(1, 3, 8, 8))
