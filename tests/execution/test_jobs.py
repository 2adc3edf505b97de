"""Jobs: one trial with what the search knows of the others."""

from dataclasses import replace

import pytest
import torch

from autocompress.execution import Done, Job
from autocompress.execution.executor import interrupted
from autocompress.execution.inline import InlineExecutor
from autocompress.execution.jobs import leads, run_job
from autocompress.metrics import Estimate, Metric
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Rival
from autocompress.runs import layout
from autocompress.runs.journal import now
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Monitor, Training

from small_studies import limited

BEST = (0.9, 1.0, 1000)
UNTRAINED = Recipe(training=Training(epochs=0, recovery_epochs=0))
HALF = replace(UNTRAINED, sparsification=Sparsification(sparsity=0.5), pruning=Pruning())


def numbers(values):
    return dict(zip(("accuracy", "latency_ms", "parameters"), values, strict=True))


def rival(values, *, feasible=True):
    return Rival(number=1, score=values[0], values=numbers(values), feasible=feasible)


def leads_beside(context, values, *others):
    metrics = {name: Estimate(value=value) for name, value in numbers(values).items()}
    return leads(metrics, others, context)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.91, 2.0, 2000), True),
        ((0.8, 0.5, 2000), True),
        ((0.8, 2.0, 500), True),
        (BEST, True),
        ((0.9, 1.0, 1001), False),
        ((0.89, 1.1, 1001), False),
    ],
)
def test_only_what_nothing_beats_leads(begun, values, expected):
    assert leads_beside(begun, values, rival(BEST)) is expected


def test_what_breaks_a_limit_neither_leads_nor_stands_in_the_way(begun):
    assert not leads_beside(limited(begun, accuracy=0.95), (0.9, 0.1, 10))
    assert leads_beside(begun, (0.8, 2.0, 2000), rival(BEST, feasible=False))


def test_a_job_survives_json():
    point = EpochRecord(stage="train", epoch=1, train_loss=1.0, valid_loss=2.0, score=0.5)
    job = Job(
        number=3,
        recipe=HALF.to_dict(),
        start_folder="00001",
        start_sha256="ab",
        rivals=(replace(rival(BEST), curve=(point,)),),
        stop_early=True,
        derive_s=0.5,
    )
    assert Job.from_dict(job.to_dict()) == job


def test_a_job_gives_the_result_of_its_trial(context):
    done = run_job(Job(number=5, recipe=HALF.to_dict()), context)
    assert isinstance(done, Done)
    assert (done.number, done.result.state, done.result.folder) == (5, "complete", "00005")
    assert done.result.recipe == HALF.to_dict()
    assert layout.trial_folder(context.folder, 5).is_dir()
    assert interrupted(Job(number=5, recipe={})).result.state == "interrupted"


def test_a_trial_may_start_from_another(context):
    first = run_job(Job(number=0, recipe=HALF.to_dict()), context).result
    again = replace(HALF, start=0, sparsification=Sparsification(sparsity=0.5)).to_dict()
    start = {"start_folder": "00000", "start_sha256": first.sha256}
    second = run_job(Job(number=1, recipe=again, **start), context).result
    assert second.state == "complete"
    sizes = [result.metrics["parameters"].value for result in (first, second)]
    assert sizes[1] < sizes[0]  # half of the half


def test_a_start_that_is_damaged_fails_the_trial_alone(context):
    first = run_job(Job(number=0, recipe=HALF.to_dict()), context).result
    path = layout.trial_folder(context.folder, 0) / layout.TRAINABLE
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    start = {"start_folder": "00000", "start_sha256": first.sha256}
    result = run_job(Job(number=1, recipe=HALF.to_dict(), **start), context).result
    assert (result.state, result.failure.stage) == ("failed", "start")
    assert "sha256 differs" in result.failure.reason


def test_a_pruned_trial_is_estimated_for_samplers_that_need_values(context):
    context = limited(context, parameters=10)
    for wanted in (False, True):
        result = run_job(Job(number=0, recipe=HALF.to_dict(), estimate=wanted), context).result
        assert result.state == "pruned"
        assert ("latency_ms" in result.metrics) is wanted
    hopeless = Sparsification(sparsity=0.5, criterion="batch_norm_scale", granularity="weight")
    recipe = replace(HALF, sparsification=hopeless).to_dict()
    result = run_job(Job(number=0, recipe=recipe, estimate=True), context).result
    assert (result.state, dict(result.metrics)) == ("pruned", {})


def test_a_hopeless_trial_is_stopped_while_it_trains(context):
    curve = tuple(
        EpochRecord(stage="train", epoch=epoch, train_loss=1, valid_loss=1, score=1.0)
        for epoch in (1, 2, 3)
    )
    values = {"accuracy": 1.0, "latency_ms": 1e-3, "parameters": 1}
    perfect = [
        Rival(number=n, score=1.0, values=values, feasible=True, curve=curve) for n in range(10)
    ]
    recipe = Recipe(training=Training(epochs=3, recovery_epochs=0, learning_rate=1e-6))
    job = Job(number=10, recipe=recipe.to_dict(), rivals=tuple(perfect), stop_early=True)
    result = run_job(job, context).result
    assert result.state == "pruned"
    assert result.failure.epoch == len(result.curve) < 3
    assert result.failure.dominated_by in range(10)


class Illegal(Monitor):
    def batch(self):
        raise torch.AcceleratorError("CUDA error: an illegal memory access")


def test_a_trial_that_breaks_the_gpu_says_so_and_has_failed(context):
    executor = InlineExecutor()
    executor.start(context.folder, replace(context, monitor=Illegal()))
    executor.submit(Job(number=0, recipe=Recipe().to_dict()))
    (done,) = executor.wait(0.0)
    assert done.device_lost
    assert (done.result.state, done.result.failure.stage) == ("failed", "train")
    assert "illegal memory access" in done.result.failure.reason


@pytest.mark.parametrize("device_lost", [False, True])
def test_a_trial_whose_derived_candidates_break_is_complete(context, device_lost):
    def measure(candidate):
        if context.folder.joinpath("trials", "00000").exists():
            raise torch.AcceleratorError("CUDA error") if device_lost else RuntimeError("no")
        return 1.0

    own = Metric(name="own", direction="minimize", measure=measure)
    broken = replace(context, evaluator=replace(context.evaluator, own=(own,)))
    training = Training(epochs=2, recovery_epochs=0)
    recipe = replace(HALF, training=training, sparsification=Sparsification(schedule="linear"))
    job = Job(number=0, recipe=recipe.to_dict(), derive=True, derive_s=100.0)
    done = run_job(job, broken)
    assert (done.result.state, done.device_lost) == ("complete", device_lost)
    assert done.result.derived
    assert {derived.state for derived in done.result.derived} == {"failed"}


def test_a_recipe_that_cannot_be_read_fails_its_trial(context):
    recipe = {**UNTRAINED.to_dict(), "extra": {"unknown": {}}}
    done = run_job(Job(number=0, recipe=recipe), context)
    assert (done.result.state, done.result.failure.stage) == ("failed", "start")
    assert "no stage 'unknown' was added" in done.result.failure.reason
    assert done.result.recipe == recipe


def test_rivals_that_cannot_be_compared_fail_what_is_derived_alone(context):
    other = Rival(number=1, score=1.0, values={}, feasible=True)
    config = replace(context.problem.config.study, early_stopping=False)
    problem = replace(context.problem, config=replace(context.problem.config, study=config))
    job = Job(number=0, recipe=HALF.to_dict(), rivals=(other,), derive=True, derive_s=100.0)
    result = run_job(job, replace(context, problem=problem)).result
    assert result.state == "complete"
    (derived,) = result.derived
    assert (derived.state, derived.failure.stage) == ("failed", "derive")
    assert derived.failure.reason == "KeyError: 'accuracy'"


def test_a_trial_says_when_its_work_began(context):
    before = now()
    done = run_job(Job(number=0, recipe=UNTRAINED.to_dict()), context)
    assert before <= done.started <= now()
