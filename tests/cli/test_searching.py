"""The commands that search, over one tiny real study: nothing stands in for the search."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from autocompress.runs import Run

STUDY = """\
[study]
name = "tiny"
trials = 1
estimate = false
derive = false
[data]
source = "digits"
image_size = 8
train_limit = 200
valid_limit = 100
test_limit = 100
[model]
factory = "autocompress:vgg_small"
epochs = 1
[training]
epochs = 1
recovery_epochs = 0
[target]
budget_s = 0.3
width = 0.5
[limits]
accuracy_drop = 1.0
[search]
sparsity = { low = 0.0, high = 0.9, step = 0.05 }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a study and its run of one trial."""
    home = tmp_path_factory.mktemp("home")
    (home / "study.toml").write_text(STUDY)
    return home


def command(home, *arguments):
    """Run a command as a user does; returns exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "autocompress.cli", *map(str, arguments)],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def ran(home):
    return command(home, "run", "study.toml", "--trials", 1, "--timeout", "10m")


def test_run_shows_progress_and_the_front(home, ran):
    code, out, err = ran
    assert code == 0, err
    run = Run.open(home / "runs" / "tiny")
    assert len(run.front()) == 1
    lines = out.splitlines()
    assert lines[0] == "tiny: the Pareto front"
    assert lines[2].startswith("baseline")
    assert lines[3].startswith(f"{run.front()[0].number} ")
    assert "tiny: 1 trials, into runs/tiny" in err
    assert "[1/1] trial 0 complete: accuracy " in err
    assert err.rstrip().endswith("next: autocompress report runs/tiny -o report.html")


@pytest.mark.usefixtures("ran")
def test_a_second_run_of_the_same_name_is_refused(home):
    code, out, err = command(home, "run", "study.toml")
    assert (code, out) == (2, "")
    assert "go on with it by `autocompress resume" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("ran")
def test_bench_shows_stored_and_new_ratios(home):
    code, out, err = command(home, "bench", "runs/tiny", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [row["trial"] for row in found["trials"]] == [0]
    assert found["trials"][0]["stored"]["value"] > 0


@pytest.mark.usefixtures("ran")
def test_limits_that_nothing_meets_are_exit_code_3_and_named(home):
    path = home / "runs" / "tiny" / "study.toml"
    before = path.read_text()
    path.write_text(before.replace("[limits]", "[limits]\nparameters = 1"))
    try:
        code, _, err = command(home, "resume", "runs/tiny")
    finally:
        path.write_text(before)
    assert code == 3, err
    assert "limit parameters: broken by 1 of 1 trials, alone by 1" in err
    assert "no trial met the limits; loosen [limits] in runs/tiny/study.toml" in err


@pytest.mark.usefixtures("ran")
def test_resume_adds_trials_and_prints_one_document(home):
    code, out, err = command(home, "resume", "runs/tiny", "--trials", 2, "--json")
    assert code == 0, err
    assert json.loads(out)["study"] == "tiny"
    assert sum(trial.counts for trial in Run.open(home / "runs" / "tiny").trials()) == 2
    assert "tiny: 1 of 2 trials done, in runs/tiny" in err


def test_plan_checks_a_study_without_training(home):
    code, out, err = command(home, "plan", "study.toml")
    assert code == 0, err
    assert out.startswith("study tiny: 1 trials, training on cpu\ndata digits: ")
    assert "200 train, 100 valid, 100 test; 10 classes" in out
    assert "search space" in out
    assert "sparsity" in out
    assert "units: what pruning can remove" in out
    code, out, _ = command(home, "plan", "study.toml", "--set", "study.name=other", "--json")
    assert (code, json.loads(out)["study"]) == (0, "other")


def test_the_first_interrupt_ends_cleanly_and_says_how_to_go_on(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY.replace("trials = 1", "trials = 50"))
    process = subprocess.Popen(
        [sys.executable, "-m", "autocompress.cli", "run", "study.toml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    header = tmp_path / "runs" / "tiny" / "run.json"
    while not header.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert "stopping and saving; press Ctrl-C again to leave at once" in err
    assert err.rstrip().endswith("go on by: autocompress resume runs/tiny")
    assert "Traceback" not in err
