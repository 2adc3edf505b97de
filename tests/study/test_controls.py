"""Controls of a small run on real digits."""

import json
from dataclasses import replace

import pytest

from autocompress.config import load_study
from autocompress.dashboard.comparison import comparison
from autocompress.errors import RunError
from autocompress.study.controls import run_controls
from autocompress.study.records import Run
from autocompress.study.running import run

STUDY = """
[study]
name = "controlled"
trials = 4

[data]
source = "digits"
image_size = 8
batch_size = 50
train_limit = 300
valid_limit = 150
test_limit = 150

[model]
factory = "autocompress:vgg_small"
kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }
epochs = 3
learning_rate = 1e-2

[training]
epochs = 2
recovery_epochs = 1
learning_rate = 1e-2

[latency]
device = "cpu"
threads = 1
budget_s = 0.1

[search]
sparsity = { low = 0.0, high = 0.8, step = 0.1 }
criterion = ["large_final", "taylor"]
distillation = "soft_target"
"""


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    (folder / "study.toml").write_text(STUDY)
    done = run(load_study(folder / "study.toml"), directory=folder / "runs")
    run_controls(done)
    return done


def test_chance_runs_on_the_same_baseline_with_the_same_epochs(controlled):
    chance = Run.open(controlled.path / "controls" / "random")
    assert chance.config["study"]["sampler"] == "random"
    assert chance.baseline["accuracy"] == controlled.baseline["accuracy"]
    for trial in chance.trials():
        if trial.counts:
            assert trial.recipe["training"]["epochs"] == 2
            assert trial.recipe["training"]["recovery_epochs"] == 1


def test_the_fronts_recipes_run_with_units_chosen_at_random(controlled):
    unguided = Run.open(controlled.path / "controls" / "random_criterion")
    front = [trial for trial in controlled.front() if trial.harvested_from is None]
    done = [trial for trial in unguided.trials() if trial.counts]
    assert len(done) == len(front)
    for mine, other in zip(done, front, strict=True):
        assert mine.params == {**other.params, "criterion": "random"}


def test_the_smallest_architecture_is_trained_from_scratch(controlled):
    scratch = json.loads((controlled.path / "controls" / "from_scratch.json").read_text())
    front = [trial for trial in controlled.front() if trial.harvested_from is None]
    smallest = min(front, key=lambda trial: trial.metrics["parameters"])
    assert scratch["trial"] == smallest.number
    assert scratch["metrics"]["parameters"] == smallest.metrics["parameters"]
    assert scratch["epochs"] == len(scratch["curve"]) >= 3
    assert scratch["curve"][-1]["accuracy"] > 0.5


def test_the_report_compares_them(controlled):
    rows = comparison(controlled)
    assert [row[0] for row in rows[:3]] == [
        "this search",
        "random recipes, in the same time",
        "the front's recipes, units chosen at random",
    ]
    assert len(rows) == 5
    assert 0 < float(rows[0][2]) < 1
    assert comparison(Run.open(controlled.path / "controls" / "random")) == []


def test_controls_that_are_there_stay(controlled):
    scratch = controlled.path / "controls" / "from_scratch.json"
    before = scratch.read_bytes(), scratch.stat().st_mtime_ns
    run_controls(controlled)
    assert (scratch.read_bytes(), scratch.stat().st_mtime_ns) == before


def test_without_a_front_there_is_nothing_to_compare(controlled, monkeypatch):
    harvested = [replace(trial, harvested_from=0) for trial in controlled.front()]
    monkeypatch.setattr(controlled, "front", lambda: harvested)
    with pytest.raises(RunError, match="has no front"):
        run_controls(controlled)
