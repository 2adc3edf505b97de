"""The commands that search, over one tiny real study: nothing stands in for the search."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from autocompress.cli.searching import conclude
from autocompress.runs import Run

from made_up_runs import made_up_run

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


RUN = ("run", "study.toml", "--trials", "1", "--timeout", "10m")


@pytest.mark.parametrize(
    ("states", "code", "words"),
    [
        ({"complete": 0, "failed": 0, "pruned": 2}, 3, "no trial met the limits; loosen [limits]"),
        ({"complete": 0, "failed": 2, "pruned": 0}, 1, "no trial was completed; reasons: auto"),
    ],
)
def test_the_exit_code_says_why_there_is_no_front(capsys, tmp_path, states, code, words):
    run = made_up_run(tmp_path / "run", **states, finished=False)
    with pytest.raises(typer.Exit) as left:
        conclude(run, run.path)
    assert left.value.exit_code == code
    written = capsys.readouterr()
    assert "nothing is on it" in written.out
    assert words in written.err


def test_a_run_with_a_front_leads_to_its_report(capsys, tmp_path):
    run = made_up_run(tmp_path / "run", complete=4)
    conclude(run, run.path, as_json=True)
    written = capsys.readouterr()
    assert json.loads(written.out)["study"] == "run"
    assert written.err == f"next: autocompress report {run.path} -o report.html\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a study."""
    home = tmp_path_factory.mktemp("home")
    (home / "study.toml").write_text(STUDY)
    return home


@pytest.fixture(scope="module")
def ran(home):
    """What `run` printed there, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "autocompress.cli", *RUN],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def at_home(call, home, ran, monkeypatch):
    """Calls commands in the folder of the run."""
    assert ran.returncode == 0, ran.stderr
    monkeypatch.chdir(home)
    return call


def test_run_shows_progress_and_the_front(home, ran):
    assert ran.returncode == 0, ran.stderr
    run = Run.open(home / "runs" / "tiny")
    assert len(run.front()) == 1
    lines = ran.stdout.splitlines()
    assert lines[0] == "tiny: the Pareto front"
    assert lines[2].startswith("baseline")
    assert lines[3].startswith(f"{run.front()[0].number} ")
    assert "tiny: 1 trials, into runs/tiny" in ran.stderr
    assert "[1/1] trial 0 complete: accuracy " in ran.stderr
    assert ran.stderr.rstrip().endswith("next: autocompress report runs/tiny -o report.html")


def test_a_second_run_of_the_same_name_is_refused(at_home):
    code, out, err = at_home("run", "study.toml")
    assert (code, out) == (2, "")
    assert "go on with it (autocompress resume" in err


def test_bench_measures_trials_again(at_home):
    code, out, err = at_home("bench", "runs/tiny", "--json")
    assert code == 0, err
    (row,) = json.loads(out)["trials"]
    assert row["trial"] == 0
    assert row["stored"]["value"] > 0


@pytest.mark.slow
def test_a_model_is_exported_and_made_again(at_home):
    code, out, err = at_home("export", "runs/tiny", "--pick", "small", "-o", "bundle", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["trial"], found["bundle"]) == (0, "bundle")
    assert "model.pt2" in found["checks"]
    code, out, err = at_home("export", "runs/tiny", "--trial", 0, "-o", "bundle", "--force")
    assert code == 0, err
    assert out.startswith("trial 0: bundle, ")
    code, out, err = at_home("reproduce", "bundle")
    assert code == 0, err
    assert out.startswith("baseline: ")
    assert "model: " in out


def test_resume_follows_the_limits_as_they_are_now(at_home, home):
    path = home / "runs" / "tiny" / "study.toml"
    before = path.read_text()
    path.write_text(before.replace("[limits]", "[limits]\nparameters = 1"))
    try:
        code, _, err = at_home("resume", "runs/tiny")
    finally:
        path.write_text(before)
    assert code == 3, err
    assert "limit parameters: broken by 1 of 1 trials, alone by 1" in err
    assert "no trial met the limits; loosen [limits] in runs/tiny/study.toml" in err


def test_resume_adds_trials_and_prints_one_document(at_home, home):
    code, out, err = at_home("resume", "runs/tiny", "--trials", 2, "--json")
    assert code == 0, err
    assert json.loads(out)["study"] == "tiny"
    assert sum(trial.counts for trial in Run.open(home / "runs" / "tiny").trials()) == 2
    assert "tiny: 1 of 2 trials done, in runs/tiny" in err


def test_plan_checks_a_study_without_training(at_home):
    code, out, err = at_home("plan", "study.toml")
    assert code == 0, err
    assert out.startswith("study tiny: 1 trials, training on cpu\ndata digits: ")
    assert "200 train, 100 valid, 100 test; 10 classes" in out
    assert "search space" in out
    assert "sparsity" in out
    assert "units: what pruning can remove" in out
    code, out, _ = at_home("plan", "study.toml", "--set", "study.name=other", "--json")
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
