"""Controls of a small run on real digits."""

import importlib
import json

import pytest

from autocompress.dashboard.comparison import comparison
from autocompress.errors import RunError
from autocompress.events import TrialDone
from autocompress.execution.inline import InlineExecutor
from autocompress.runs import Run
from autocompress.space.parameters import path_of
from autocompress.study.controls import run_controls
from autocompress.study.run import run_study

from made_up_runs import made_up_run
from small_studies import STUDY, study_in

SEARCH = """[search]
sparsity = { low = 0.0, high = 0.8, step = 0.1 }
criterion = ["large_final", "taylor"]
distillation = "soft_target"
"""


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    text = STUDY.split("[search]")[0] + SEARCH
    settings = ["study.name=controlled", "study.trials=3", "training.epochs=2"]
    config, executor = study_in(folder, *settings, text=text), InlineExecutor()
    done = run_study(config, directory=folder / "runs", executor=executor)
    run_controls(done, executor=executor)
    return done


def test_chance_runs_on_the_same_baseline_with_the_same_epochs(controlled):
    chance = Run.open(controlled.path / "controls" / "random")
    assert chance.config["study"]["sampler"] == "random"
    assert chance.baseline["accuracy"] == controlled.baseline["accuracy"]
    assert chance.finished
    for trial in chance.trials():
        if trial.counts:
            assert trial.recipe["training"]["epochs"] == 2
            assert trial.recipe["training"]["recovery_epochs"] == 1


def by_path(params):
    return {path_of(name): value for name, value in params.items()}


def test_the_fronts_recipes_run_with_units_chosen_at_random(controlled):
    unguided = Run.open(controlled.path / "controls" / "random_criterion")
    done = [trial for trial in unguided.trials() if trial.counts]
    assert len(done) == len(controlled.front())
    for mine, other in zip(done, controlled.front(), strict=True):
        assert by_path(mine.params) == by_path({**other.params, "criterion": "random"})
        if mine.recipe["sparsification"]:
            assert mine.recipe["sparsification"]["criterion"] == "random"


def test_the_smallest_architecture_is_trained_from_scratch(controlled):
    scratch = json.loads((controlled.path / "controls" / "from_scratch.json").read_text())
    smallest = min(controlled.front(), key=lambda trial: trial.metrics["parameters"].value)
    assert scratch["trial"] == smallest.number
    assert scratch["metrics"]["parameters"]["value"] == smallest.metrics["parameters"].value
    assert scratch["epochs"] == len(scratch["curve"]) >= 3
    assert scratch["curve"][-1]["score"] > 0.2
    trained_s = sum(smallest.seconds[stage] for stage in ("train", "recover"))
    assert scratch["budget_s"] > trained_s  # the baseline's training counts too


def test_the_report_compares_them(controlled):
    rows = comparison(controlled)
    assert [row.text for row in rows[:3]] == [
        "this search",
        "random recipes, in the same time",
        "the front's recipes, units chosen at random",
    ]
    assert len(rows) == 5
    assert 0 < rows[0].volume < 1
    assert comparison(Run.open(controlled.path / "controls" / "random")) == []


def test_controls_that_are_there_stay(controlled):
    scratch = controlled.path / "controls" / "from_scratch.json"
    before = scratch.read_bytes(), scratch.stat().st_mtime_ns
    run_controls(controlled, executor=InlineExecutor())
    assert (scratch.read_bytes(), scratch.stat().st_mtime_ns) == before


def test_without_a_front_there_is_nothing_to_compare(tmp_path):
    empty = made_up_run(tmp_path / "empty", complete=0, failed=1, pruned=0)
    with pytest.raises(RunError, match="has no front"):
        run_controls(empty)


COUNTING = """
from small_studies import MadeUpSession, MadeUpTarget

sessions = []


class Session(MadeUpSession):
    closed = False

    def close(self):
        self.closed = True


class Target(MadeUpTarget):
    def open(self, artifact, example):
        sessions.append(Session(artifact.content, artifact.size_bytes / 4000))
        return sessions[-1]
"""


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A run on a target that keeps its sessions, and these sessions."""
    (tmp_path / "counting_target.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    text = STUDY.split("[target]")[0] + '[target]\nruntime = "counting_target:Target"\n' + SEARCH
    config = study_in(tmp_path, "study.trials=3", text=text)
    done = run_study(config, directory=tmp_path / "runs", executor=InlineExecutor())
    return done, importlib.import_module("counting_target").sessions


def test_controls_that_were_interrupted_are_gone_on_with_and_close_their_sessions(counted):
    done, sessions = counted

    def stop(event):
        if isinstance(event, TrialDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_controls(done, executor=InlineExecutor(), progress=stop)
    chance = Run.open(done.path / "controls" / "random")
    assert not chance.finished
    before = {trial.number: trial.started for trial in chance.trials() if trial.counts}
    assert before
    run_controls(done, executor=InlineExecutor())
    assert chance.finished
    assert {number: chance.trial(number).started for number in before} == before
    assert Run.open(done.path / "controls" / "random_criterion").finished
    assert (done.path / "controls" / "from_scratch.json").exists()
    assert all(session.closed for session in sessions)
