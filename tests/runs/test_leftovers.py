"""What processes that were killed have left of what they wrote."""

import os
import subprocess
import sys

import pytest

from autocompress.artifacts import remove_leftovers
from autocompress.events import ignore
from autocompress.runs import Run
from autocompress.study.budget import Amount
from autocompress.study.run import go_on


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(folder, process):
    """Write into a run's folder what a kill of a process leaves, and return where."""
    trial = folder / "trials" / f"00007.{process}.partial"
    trial.mkdir(parents=True)
    (trial / "weights.safetensors").write_bytes(b"half")
    final = folder / f"final.json.{process}.partial"
    beside = folder.with_name(f"{folder.name}.{process}.partial")
    for path in (final, beside):
        path.write_bytes(b"{")
    return trial, final, beside


def test_only_what_the_dead_left_is_removed(tmp_path, dead):
    folder = tmp_path / "run"
    of_dead, of_living = leave(folder, dead), leave(folder, os.getpid())
    own = folder / "half.partial"
    own.write_text("a file of the user's")
    remove_leftovers(folder)
    assert not any(path.exists() for path in of_dead)
    assert all(path.exists() for path in (*of_living, own))


def test_a_run_that_goes_on_removes_it(context, dead):
    left = leave(context.folder, dead)
    options = {"amount": Amount(trials=0), "executor": None, "progress": ignore}
    go_on(context.problem, Run.open(context.folder), **options)
    assert not any(path.exists() for path in left)
