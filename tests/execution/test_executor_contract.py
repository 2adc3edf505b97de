"""The contract of executors: ours keep it, and the suite finds those that do not."""

import pytest

from autocompress.execution import Done
from autocompress.execution.executor import interrupted
from autocompress.execution.inline import InlineExecutor
from autocompress.execution.pool import LocalPool
from autocompress.metrics import Estimate
from autocompress.recipe import Recipe
from autocompress.results import TrialResult
from autocompress.testing.execution import check_executor
from autocompress.training.fitting import Training

RECIPES = tuple(
    Recipe(training=Training(epochs=0, recovery_epochs=0), fold=fold) for fold in (True, False)
)


@pytest.mark.parametrize("executor", [InlineExecutor, LocalPool])
def test_our_executors_keep_the_contract(executor, context):
    check_executor(executor(), context.folder, context, RECIPES)


class Queue:
    """An executor that keeps the contract, with made-up results."""

    capacity = 1

    def start(self, folder, context):
        self.jobs, self.gone = [], []

    def submit(self, job):
        self.jobs.append(job)

    def wait(self, timeout_s):
        ended = [self.done(job) for job in self.jobs[:1]] + [interrupted(j) for j in self.gone]
        self.jobs, self.gone = self.jobs[1:], []
        return ended

    def cancel(self, number):
        self.jobs, self.gone = [], self.jobs

    def close(self):
        pass

    def done(self, job):
        metrics = {"accuracy": Estimate(value=1.0)}
        result = TrialResult(state="complete", recipe=job.recipe, metrics=metrics, folder="0")
        return Done(number=job.number, result=result)


class NoCapacity(Queue):
    capacity = 0


class Eager(Queue):
    def wait(self, timeout_s):
        return super().wait(timeout_s) or [
            Done(number=1, result=TrialResult(state="failed", recipe={}))
        ]


class Twice(Queue):
    def wait(self, timeout_s):
        return 2 * super().wait(timeout_s)


class Failing(Queue):
    def done(self, job):
        return Done(number=job.number, result=TrialResult(state="failed", recipe=job.recipe))


class Changing(Queue):
    def done(self, job):
        done = super().done(job)
        return Done(number=job.number, result=TrialResult(**{**vars(done.result), "recipe": {}}))


class Unmeasured(Queue):
    def done(self, job):
        result = TrialResult(state="complete", recipe=job.recipe, folder="0")
        return Done(number=job.number, result=result)


class Unstored(Queue):
    def done(self, job):
        done = super().done(job)
        return Done(number=job.number, result=TrialResult(**{**vars(done.result), "folder": None}))


class Failed(Queue):
    def cancel(self, number):
        self.jobs = [Done(number=number, result=TrialResult(state="failed", recipe={}))]

    def done(self, job):
        return job if isinstance(job, Done) else super().done(job)


def test_the_suite_accepts_an_executor_that_keeps_it(context):
    check_executor(Queue(), context.folder, context, RECIPES)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (NoCapacity, "capacity is 0; expected at least 1"),
        (Eager, "wait returned a job, though none was submitted"),
        (Twice, "expected each job once"),
        (Failing, "ended as failed"),
        (Changing, "another recipe"),
        (Unmeasured, "no metrics"),
        (Unstored, "its model was not stored"),
        (Failed, "a cancelled job ended as failed"),
    ],
)
def test_the_suite_finds_an_executor_that_breaks_it(executor, message, context):
    with pytest.raises(AssertionError, match=message):
        check_executor(executor(), context.folder, context, RECIPES)
