"""What the examples define keeps the contracts, as their authors would check it."""

from dataclasses import replace

import pytest
import torch

import autocompress as ac
from autocompress import testing


@pytest.fixture(scope="module")
def small(example):
    return example("small")


@pytest.fixture(scope="module")
def net(small):
    return small.trained(epochs=1)


@pytest.fixture(scope="module")
def work(small, net):
    task = ac.classification(10)
    data = ac.as_data(small.digits(), task=task, batch_size=100, device="cpu")
    return ac.Work(data=data, task=task, analysis=ac.analyze(net, data.example[:2]))


def test_metric(example, net, small):
    testing.check_metric(example("own_metric").activations_kb, net, small.digits()[0][:1])


def test_tasks(example):
    images, masks = example("segmentation").shapes(6, seed=3)
    outputs = torch.randn(6, 3, *images.shape[2:], generator=torch.Generator().manual_seed(0))
    testing.check_task(ac.segmentation(classes=3), outputs, masks)
    testing.check_task(
        example("own_model_and_data").task(),
        outputs[:, :, 0, :10].flatten(1)[:, :10],
        torch.arange(6),
    )


def test_datasets(example):
    mine = example("own_model_and_data")
    testing.check_data(ac.as_data(mine.data(), task=mine.task(), batch_size=100, device="cpu"))


def test_loaders_of_fastai(example, small):
    dls = example("fastai_learner").loaders()
    testing.check_data(ac.as_data(dls, task=ac.classification(10), device="cpu"))


def test_criterion_schedule_and_loss(example):
    mine = example("own_names")
    testing.check_criterion(mine.far_from_mean)
    testing.check_schedule(mine.square_root)
    testing.check_loss(mine.cosine)


def test_stage(example, net, work):
    mine = example("own_stage")
    recipe = ac.Recipe(extra={"round_weights": mine.Rounding(digits=1)})
    found = testing.check_stage(mine.STAGE, ac.State(net), recipe, work)
    weight = found.model[0].weight
    assert torch.equal(weight, weight.round(decimals=1))


def test_executor(example, tmp_path):
    context, recipes = testing.small_study(tmp_path / "run")
    own = example("own_executor").ThreadExecutor()
    testing.check_executor(own, tmp_path / "run", context, recipes)


def test_allocation(example, work):
    mine = example("own_allocation")
    space = ac.Space({"sparsity": (0.0, 0.8)}, allocation="by_width")
    sparse = space.recipe({"sparsity": 0.8}, work.analysis).sparsification
    assert sparse.sparsity == pytest.approx({"0": 0.8 * 0.5, "3": 0.8 * 0.5**0.5})
    assert sparse.linear_sparsity == {"8": 0.8}
    shares = mine.by_width({"sparsity": 0.8}, work.analysis)
    assert {**sparse.sparsity, **sparse.linear_sparsity} == shares
    assert replace(space, allocation="uniform").recipe({"sparsity": 0.8}).sparsification
