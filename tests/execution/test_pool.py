"""A pool of two processes, and trials that break: alone, with their process, with their GPU."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.errors import ConfigurationError, UsageError
from autocompress.execution import Job
from autocompress.execution.inline import InlineExecutor
from autocompress.execution.pool import LocalPool
from autocompress.recipe import Recipe
from autocompress.results import TrialResult
from autocompress.study.budget import Amount
from autocompress.study.run import run_study
from autocompress.training.fitting import Training

from small_studies import STUDY, own_trials, study_in

BRITTLE = """
import os
import torch
from autocompress.models import vgg_small

class Brittle(vgg_small(num_classes=10, channels=1).__class__):
    def forward(self, x):
        dead = 0  # nothing of this is traced: it happens in training only
        if self.training:
            dead = int((self[0][0].weight.flatten(1) == 0).all(1).sum())
        if dead == 2:
            raise RuntimeError("two filters died")
        if dead == 4:
            os.abort()
        if dead == 6:
            raise torch.AcceleratorError("CUDA error: an illegal memory access")
        return super().forward(x)

def net(num_classes, channels):
    model = vgg_small(
        num_classes=num_classes, channels=channels, widths=(8, 16), layers_per_stage=1, hidden=32
    )
    model.__class__ = Brittle
    return model
"""
SEARCH = """[search]
sparsity = { low = 0.0, high = 0.75, step = 0.25 }
linear_sparsity = [0.0, 0.5]
schedule = "one_shot"
"""
FAILING = {
    0.25: ("train", "RuntimeError: two filters died"),
    0.5: ("process", "its process ended by SIGABRT: out of memory, or a crash"),
    0.75: ("train", "AcceleratorError: CUDA error: an illegal memory access"),
}


@pytest.fixture
def brittle(tmp_path, monkeypatch):
    """A study whose network breaks in a way of its own for each sparsity."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brittle_net.py").write_text(BRITTLE)
    lines = [line for line in STUDY.split("[search]")[0].splitlines() if "kwargs" not in line]
    text = "\n".join([*lines, SEARCH]).replace("autocompress:vgg_small", "brittle_net:net")
    return study_in(tmp_path, "training.recovery_epochs=0", text=text)


@pytest.mark.slow
def test_a_trial_that_breaks_fails_alone_and_others_go_on(brittle, tmp_path):
    given = [(0.0, 0.0), (0.75, 0.0), (0.25, 0.0), (0.5, 0.0), (0.0, 0.5)]
    recipes = [{"sparsity": one, "linear_sparsity": two} for one, two in given]
    amount = Amount(trials=len(given), workers=2)
    done = run_study(brittle, directory=tmp_path / "runs", amount=amount, recipes=recipes)
    trials = own_trials(done)
    assert [trial.params["sparsity"] for trial in trials] == [one for one, _ in given]
    for trial in trials:
        sparsity = trial.params["sparsity"]
        assert trial.state == ("failed" if sparsity in FAILING else "complete"), trial.reason
        assert (trial.stage, trial.reason) == FAILING.get(sparsity, (None, None))
    assert done.finished
    assert {trial.number for trial in done.front()} <= {0, 4}


def test_a_pool_needs_workers():
    with pytest.raises(ConfigurationError, match="workers: expected at least 1"):
        LocalPool(0)
    with pytest.raises(ConfigurationError, match="workers"):
        Amount(workers=0)


def test_a_job_that_is_cancelled_while_its_process_starts_is_interrupted(begun):
    pool = LocalPool()
    pool.start(begun.folder, begun)
    pool.submit(Job(number=3, recipe=Recipe(training=Training(epochs=0)).to_dict()))
    pool.cancel(3)
    assert [(d.number, d.result.state) for d in ended(pool)] == [(3, "interrupted")]
    pool.close()


def ended(pool):
    """Wait for jobs of a pool."""
    found = []
    while not found:
        found = list(pool.wait(1.0))
    return found


def end_workers_of(folder):
    """Kill the processes that run trials of a run, and wait for their end."""
    commands = {path.parent: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    workers = [p for p, command in commands.items() if os.fsencode(folder) in command]
    for process in workers:
        os.kill(int(process.name), signal.SIGKILL)
        while process.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.01)
    return len(workers)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks processes up in /proc")
def test_a_process_that_dies_between_two_jobs_is_replaced(context):
    pool, recipe = LocalPool(), Recipe(training=Training(epochs=0, recovery_epochs=0)).to_dict()
    pool.start(context.folder, context)
    pool.submit(Job(number=0, recipe=recipe))
    first = ended(pool)
    assert end_workers_of(context.folder) == 1
    pool.submit(Job(number=1, recipe=recipe))
    second = ended(pool)
    pool.close()
    assert [(d.number, d.result.state) for d in (*first, *second)] == [
        (0, "complete"), (1, "complete"),
    ]  # fmt: skip


def test_a_study_with_python_objects_is_refused(begun):
    model = replace(begun.problem.config.model, factory="python:Net")
    config = replace(begun.problem.config, model=model)
    context = replace(begun, problem=replace(begun.problem, config=config))
    with pytest.raises(ConfigurationError, match="holds Python objects"):
        LocalPool().start(begun.folder, context)


def test_an_inline_executor_must_be_started():
    executor = InlineExecutor()
    executor.submit(Job(number=0, recipe={}))
    with pytest.raises(UsageError, match="must be started"):
        executor.wait(0.0)


def test_an_inline_job_that_was_interrupted_can_be_cancelled(context):
    class Stopped(type(context.monitor)):
        def batch(self):
            raise KeyboardInterrupt

    executor = InlineExecutor()
    executor.start(context.folder, replace(context, monitor=Stopped()))
    executor.submit(Job(number=0, recipe=Recipe().to_dict()))
    with pytest.raises(KeyboardInterrupt):
        executor.wait(0.0)
    executor.cancel(0)
    (done,) = executor.wait(0.0)
    expected = TrialResult(state="interrupted", recipe=Recipe().to_dict())
    assert (done.number, done.result) == (0, expected)
    assert list(executor.wait(0.0)) == []
