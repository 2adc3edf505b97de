"""The search with an executor that returns made-up results."""

import itertools

from autocompress.events import ignore
from autocompress.execution import Done
from autocompress.execution.executor import interrupted
from autocompress.metrics import Estimate
from autocompress.results import Failure, TrialResult
from autocompress.runs import Run, layout
from autocompress.runs.journal import Journal, Session, now
from autocompress.study.budget import Budget
from autocompress.study.loop import SearchLoop
from autocompress.study.proposer import Proposer


def complete(job, *, accuracy=0.9, parameters=1000, **more):
    found = {"accuracy": accuracy, "latency_ms": 1.0 + job.number, "parameters": parameters}
    metrics = {name: Estimate(value=value) for name, value in found.items()}
    return TrialResult(state="complete", recipe=job.recipe, metrics=metrics, **more)


def failed(job):
    failure = Failure(stage="train", reason="it broke")
    return TrialResult(state="failed", recipe=job.recipe, failure=failure)


class MadeUpExecutor:
    """Ends each job as it is told.

    Args:
        end: makes the result of a job, or raises.
        derive_s: what each job leaves of the time for derived candidates.
    """

    def __init__(self, end=complete, *, capacity=1, derive_s=0.0):
        self.end, self.capacity, self.derive_s = end, capacity, derive_s
        self.jobs, self.running, self.cancelled, self.closed = [], [], [], False

    def start(self, folder, context):
        pass

    def submit(self, job):
        assert len(self.running) < self.capacity
        self.jobs.append(job)
        self.running.append(job)

    def wait(self, timeout_s):
        if self.cancelled:
            return [interrupted(self.cancelled.pop())]
        if not self.running:
            return []
        result = self.end(self.running[0])
        job = self.running.pop(0)
        return [Done(number=job.number, result=result, derive_s=self.derive_s)]

    def cancel(self, number):
        self.cancelled += [job for job in self.running if job.number == number]
        self.running = [job for job in self.running if job.number != number]

    def close(self):
        self.closed = True


def proposer_of(context, space=None, sampler="tpe", seed=0):
    return Proposer(
        space or context.problem.config.space(),
        context.objectives,
        context.limits,
        context.baseline_metrics,
        score="accuracy",
        sampler=sampler,
        seed=seed,
    )


def ticking():
    """Return a clock on which a session takes no time worth speaking of."""
    ticks = itertools.count()
    return lambda: 1e-6 * next(ticks)


def search(context, executor, trials, *, proposer=None, timeout_s=None, progress=ignore):
    """Run one session of the search, and return the run."""
    journal = Journal(context.folder / layout.JOURNAL)
    journal.append(Session(time=now(), trials=trials))
    run = Run.open(context.folder)
    if proposer is None:
        proposer = proposer_of(context, seed=len(run.trials()))
    proposer.restore(run.trials())
    done = sum(trial.counts for trial in run.trials())
    budget = Budget(trials, timeout_s, executor.capacity, done, clock=ticking())
    SearchLoop(context, proposer, executor, journal, budget, progress).search()
    return Run.open(context.folder)
