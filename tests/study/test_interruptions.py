"""The command line, interrupted by Ctrl-C and by kill -9."""

import os
import signal
import subprocess
import sys
import time

import pytest

from autocompress.errors import RunError
from autocompress.execution.inline import InlineExecutor
from autocompress.runs import Run
from autocompress.study.run import resume_run

from small_studies import STUDY, own_trials, study_file

TRIALS = 8


def launch(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "autocompress.cli", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def states_of(folder):
    try:
        return [trial.state for trial in Run.open(folder).trials()]
    except RunError:  # it has not begun
        return []


def wait_for_trial(folder, complete, process):
    """Wait until so many trials are complete, and another one runs."""
    deadline = time.monotonic() + 300  # a busy machine imports torch in a minute
    while time.monotonic() < deadline and process.poll() is None:
        states = states_of(folder)
        if states.count("complete") >= complete and "running" in states:
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no trial was running in time: {process.communicate()}")


def interrupt(process, how):
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def check_loss(before, folder):
    """Check that the trials that were complete are, and that at most one waits."""
    trials = Run.open(folder).trials()
    assert {t.number for t in trials if t.state == "complete"} >= before
    assert not Run.open(folder).status().active
    lost = [trial for trial in trials if trial.state == "waiting"]
    assert len(lost) <= 1
    return {t.number for t in trials if t.state == "complete"}, lost


@pytest.mark.slow
def test_an_interrupted_run_loses_only_its_running_trial(tmp_path):
    study_file(tmp_path, STUDY.replace("trials = 4", f"trials = {TRIALS}"))
    folder = tmp_path / "runs" / "micro"
    process = launch(tmp_path, "run", "study.toml")
    wait_for_trial(folder, 1, process)
    code, errors = interrupt(process, signal.SIGINT)
    assert code == 130, errors
    assert "autocompress resume" in errors
    assert "Traceback" not in errors
    complete, first = check_loss(set(), folder)
    assert complete

    process = launch(tmp_path, "resume", "runs/micro")
    wait_for_trial(folder, len(complete) + 1, process)
    code, errors = interrupt(process, signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    complete, second = check_loss(complete, folder)

    after = resume_run(folder, executor=InlineExecutor())
    again = {trial.number: trial for trial in after.trials()}
    assert all(again[number].state == "complete" for number in complete)
    assert len(own_trials(after)) == TRIALS
    for trial in (*first, *second):
        assert again[trial.number].state in ("complete", "pruned")
        assert again[trial.number].params == trial.params
        assert again[trial.number].name == trial.name
        assert again[trial.number].recipe == trial.recipe
    begins = [t.started for t in sorted(own_trials(after), key=lambda t: t.number)]
    assert begins == sorted(begins)  # what waited was the next to run
