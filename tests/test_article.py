"""The article's whole path on a tiny VGG: distil and sparsify, prune, factorize, fold."""

import copy

import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat

import autocompress as ac
from autocompress.graph import Plan, rebuild
from autocompress.training.evaluation import evaluate


def test_the_articles_path(batches, trained_vgg, tmp_path):
    teacher = trained_vgg
    before = evaluate(teacher, batches.valid).accuracy

    student = copy.deepcopy(teacher)
    learn = Learner(batches.loaders, student, loss_func=CrossEntropyLossFlat())
    distil = ac.KnowledgeDistillation(teacher)
    sparsify = ac.Sparsify(
        0.4, granularity="filter", scope="local", criterion="large_final", schedule="cosine"
    )
    with learn.no_logging(), learn.no_bar():
        learn.fit(4, 1e-2, cbs=[distil, sparsify])

    pruned = ac.prune(student, batches.example)
    assert [pruned.features[i].out_channels for i in (0, 4)] == [7, 14]
    with torch.no_grad():
        difference = (student.eval()(batches.example) - pruned(batches.example)).abs().max()
    assert difference < 1e-4

    thin = ac.factorize(pruned, ac.Factorization(rank=0.5))
    tune = Learner(batches.loaders, thin, loss_func=CrossEntropyLossFlat())
    with tune.no_logging(), tune.no_bar():
        tune.fit(2, 5e-3, cbs=[ac.KnowledgeDistillation(teacher)])
    final = ac.fold_batch_norms(thin, batches.example)

    count = sum(p.numel() for p in final.parameters())
    linear = sum(p.numel() for p in final.classifier.parameters())
    assert linear < sum(p.numel() for p in pruned.classifier.parameters())
    assert count < 0.7 * sum(p.numel() for p in teacher.parameters())
    assert evaluate(final, batches.valid).accuracy > before - 0.1

    plan = tmp_path / "plan.json"
    plan.write_text(ac.plan_of(final).to_json())
    fresh = type(teacher)()
    rebuild(fresh, Plan.from_json(plan.read_text()))
    fresh.load_state_dict(final.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(batches.example), final.eval()(batches.example))
