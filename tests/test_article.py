"""The article's whole path on a tiny VGG: distil and sparsify, prune, factorize, fold."""

import copy

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat

import autocompress as ac
from autocompress.tasks import classification
from autocompress.training.evaluation import evaluate


def test_the_articles_path(data, trained_vgg, tmp_path):
    def accuracy(model):
        return evaluate(model, data.valid, classification())["accuracy"].value

    teacher, example = trained_vgg, data.example
    before = accuracy(teacher)
    loaders = DataLoaders(data.train(0), data.valid, device=None)

    student = copy.deepcopy(teacher)
    learn = Learner(loaders, student, loss_func=CrossEntropyLossFlat())
    distil = ac.KnowledgeDistillation(teacher)
    sparsify = ac.Sparsify(
        0.4, granularity="filter", scope="local", criterion="large_final", schedule="cosine"
    )
    with learn.no_logging(), learn.no_bar():
        learn.fit(4, 1e-2, cbs=[distil, sparsify])

    pruned, removed = ac.prune(student.eval(), example=example)
    assert [pruned.features[i].out_channels for i in (0, 4)] == [7, 14]
    with torch.no_grad():
        difference = (student(example) - pruned.eval()(example)).abs().max()
    assert difference < 1e-4

    thin, factorized = ac.factorize(pruned, ac.Factorization(rank=0.5), example=example)
    tune = Learner(loaders, thin, loss_func=CrossEntropyLossFlat())
    with tune.no_logging(), tune.no_bar():
        tune.fit(2, 5e-3, cbs=[ac.KnowledgeDistillation(teacher)])
    final, folded = ac.fold_batch_norms(thin.eval(), example=example)

    count = sum(p.numel() for p in final.parameters())
    linear = sum(p.numel() for p in final.classifier.parameters())
    assert linear < sum(p.numel() for p in pruned.classifier.parameters())
    assert count < 0.7 * sum(p.numel() for p in teacher.parameters())
    assert accuracy(final) > before - 0.1

    plan = tmp_path / "plan.json"
    steps = (*removed.steps, *factorized.steps, *folded.steps)
    plan.write_text(ac.Plan(steps).to_json())
    fresh = type(teacher)()
    ac.rebuild(fresh, ac.Plan.from_json(plan.read_text()))
    fresh.load_state_dict(final.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(example), final.eval()(example))
