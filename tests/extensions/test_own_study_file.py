"""Names of one's own in a study file, on the command line: worker processes know them too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import autocompress as ac

EXAMPLES = Path(__file__).parents[2] / "examples"


def autocompress(*arguments, folder):
    paths = [str(EXAMPLES), str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "autocompress.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("study")
    autocompress("run", EXAMPLES / "own_study.toml", "--trials", 2, folder=home)
    return home


def test_all_names_reach_the_workers(folder):
    run = ac.Run.open(folder / "runs" / "own_study")
    assert [t.failure for t in run.trials() if t.state == "failed"] == []
    trial = run.front()[-1]
    sparse = trial.recipe["sparsification"]
    assert (sparse["criterion"], sparse["schedule"]) == ("far_from_mean", "square_root")
    assert set(sparse["sparsity"]) == {"0", "3"}
    assert "round_weights" in trial.recipe["extra"]
    assert set(trial.metrics) >= {"top_3", "activations_kb", "latency_ms"}
    assert "onnxruntime" in run.fingerprint
    assert [m.name for m in run.objectives][::3] == ["top_3", "activations_kb"]


@pytest.mark.slow
def test_a_bundle_is_made_and_loaded_by_the_names(folder, example):
    autocompress("export", "runs/own_study", "-o", "bundle", folder=folder)
    example("small")
    network = ac.load(folder / "bundle", allow=["small"])
    run = ac.Run.open(folder / "runs" / "own_study")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == run.pick("balanced").metrics["parameters"].value
    assert "activations" in (folder / "bundle" / "README.md").read_text()
