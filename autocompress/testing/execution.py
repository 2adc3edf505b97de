"""What an executor must do."""

import time
from collections.abc import Sequence
from pathlib import Path

from autocompress.context import Context
from autocompress.execution import Done, Executor, Job
from autocompress.recipe import Recipe

WAIT_S = 0.2


def check_executor(
    executor: Executor, folder: Path, context: Context, recipes: Sequence[Recipe]
) -> None:
    """Check that an executor runs jobs, returns each once, and ends what it is told to.

    Args:
        executor: new, not started; it is closed afterwards.
        folder: of a run that has begun, as ``context`` belongs to it.
        context: what its trials share.
        recipes: at least two different ones that complete within seconds.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    assert executor.capacity >= 1, f"capacity is {executor.capacity}; expected at least 1"
    executor.start(folder, context)
    try:
        assert list(executor.wait(0.0)) == [], "wait returned a job, though none was submitted"
        jobs = [
            Job(number=9000 + index, recipe=recipe.to_dict())
            for index, recipe in enumerate(recipes)
        ]
        ended = {done.number: done for done in _run_all(executor, jobs)}
        for job in jobs:
            _check_end(job, ended[job.number])
        _check_cancel(executor, recipes[0])
    finally:
        executor.close()


def _run_all(executor: Executor, jobs: Sequence[Job], timeout_s: float = 300.0) -> list[Done]:
    left, running, ended = list(jobs), 0, []
    deadline = time.monotonic() + timeout_s
    while left or running:
        while left and running < executor.capacity:
            executor.submit(left.pop(0))
            running += 1
        found = list(executor.wait(WAIT_S))
        running -= len(found)
        ended += found
        assert time.monotonic() < deadline, f"jobs have not ended after {timeout_s:.0f} s"
    numbers = [done.number for done in ended]
    expected = sorted(job.number for job in jobs)
    assert sorted(numbers) == expected, f"expected each job once, got {numbers}"
    return ended


def _check_end(job: Job, done: Done) -> None:
    result = done.result
    assert result.state == "complete", (
        f"job {job.number} ended as {result.state}: {result.failure}"
    )
    assert result.recipe == dict(job.recipe), f"job {job.number}: its result has another recipe"
    assert result.metrics, f"job {job.number}: its result has no metrics"
    assert result.folder is not None, f"job {job.number}: its model was not stored"


def _check_cancel(executor: Executor, recipe: Recipe) -> None:
    """A cancelled job ends as interrupted, unless it was complete before."""
    executor.submit(Job(number=9999, recipe=recipe.to_dict()))
    executor.cancel(9999)
    deadline = time.monotonic() + 300.0
    ended: list[Done] = []
    while not ended:
        ended = list(executor.wait(WAIT_S))
        assert time.monotonic() < deadline, "a cancelled job was not returned"
    assert [done.number for done in ended] == [9999], f"expected job 9999, got {ended}"
    state = ended[0].result.state
    assert state in ("interrupted", "complete"), f"a cancelled job ended as {state}"
