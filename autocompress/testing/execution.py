"""What an executor must do."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from autocompress.artifacts import write_folder
from autocompress.config import study_from, to_toml
from autocompress.context import Context, prepare
from autocompress.events import ignore
from autocompress.execution import Done, Executor, Job
from autocompress.problem import problem_from
from autocompress.recipe import Recipe
from autocompress.runs import layout

WAIT_S = 0.2
SMALL: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "study": {"name": "small"},
        "data": {"source": "digits", "train_limit": 400, "valid_limit": 100, "test_limit": 100},
        "model": {"factory": f"{__name__}:digits_net", "epochs": 1},
        "training": {"epochs": 1, "recovery_epochs": 0},
        "target": {"device": "cpu", "budget_s": 0.1},
        "search": {"sparsity": [0.0, 0.5], "linear_sparsity": [0.0, 0.5]},
    }
)


def check_executor(
    executor: Executor, folder: Path, context: Context, recipes: Sequence[Recipe]
) -> None:
    """Check that an executor runs jobs, returns each once, and ends what it is told to.

    Args:
        executor: new, not started; it is closed afterwards.
        folder: of a run that has begun, as ``context`` belongs to it; :func:`small_study` makes
            one.
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


def digits_net(num_classes: int, channels: int) -> nn.Module:
    """Return a network for images of 8 x 8 pixels, with random weights."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 16, 32), nn.ReLU(), nn.Linear(32, num_classes),
    ]  # fmt: skip
    return nn.Sequential(*layers)


def small_study(folder: Path) -> tuple[Context, list[Recipe]]:
    """Begin a study of scikit-learn's digits that its file describes, for ``check_executor``.

    Args:
        folder: of the run; it must not exist.

    Returns:
        what its trials share, with a baseline that was trained for an epoch; and two recipes.
    """
    config = study_from(SMALL)
    write_folder(folder, {layout.STUDY: to_toml(config).encode()}, replace=False)
    context = prepare(problem_from(config), folder, ignore)
    spaces = [{"sparsity": 0.0, "linear_sparsity": 0.5}, {"sparsity": 0.5}]
    return context, [config.space().recipe(params) for params in spaces]


def _run_all(executor: Executor, jobs: Sequence[Job], timeout_s: float = 300.0) -> list[Done]:
    left, ended = list(jobs), list[Done]()
    running: set[int] = set()
    deadline = time.monotonic() + timeout_s
    while left or running:
        while left and len(running) < executor.capacity:
            job = left.pop(0)
            executor.submit(job)
            running.add(job.number)
        for done in executor.wait(WAIT_S):
            assert done.number in running, (
                f"expected each job once; wait returned job {done.number}, which was not running"
            )
            running.remove(done.number)
            ended.append(done)
        assert time.monotonic() < deadline, f"jobs have not ended after {timeout_s:.0f} s"
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
