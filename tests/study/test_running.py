"""Studies on real digits, end to end, with a net small enough for seconds per trial."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from autocompress.config import load_study
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.events import Finished, LastWord, Started, TrialDone
from autocompress.recipe import Recipe
from autocompress.search import harvesting
from autocompress.search.harvesting import Crop
from autocompress.search.offshoots import Offshoot
from autocompress.search.shipped import shipped_params
from autocompress.study import running
from autocompress.study.picks import Demands
from autocompress.study.records import Run
from autocompress.study.running import check, resume, run
from autocompress.study.searching import enqueue, open_bench, optimize
from autocompress.study.storage import open_storage
from autocompress.techniques.factorization import Factorization
from autocompress.training.fitting import Follower
from autocompress.wording import recipe_in_short

STUDY = """
[study]
name = "micro"
trials = 4
seed = 1

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
epochs = 1
recovery_epochs = 1
learning_rate = 1e-2

[latency]
device = "cpu"
threads = 1
budget_s = 0.3

[search]
sparsity = { low = 0.0, high = 0.8, step = 0.1 }
linear_sparsity = { low = 0.0, high = 0.8, step = 0.1 }
distillation = ["none", "soft_target"]
distillation_weight = 0.5
rank = { low = 0.25, high = 1.0, step = 0.25 }
"""


def ended(run):
    """Return the trials that are over, without those that a slow machine left time to harvest."""
    own = [trial for trial in run.trials() if trial.harvested_from is None]
    return [trial for trial in own if trial.state != "waiting"]


def study_file(folder: Path, text: str = STUDY) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("study")
    config = load_study(study_file(folder), [])
    return run(config, directory=folder / "runs", progress=events.append)


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished.path, tmp_path / "micro")


def test_a_run_holds_everything_it_found(finished):
    assert finished.finished
    assert [t.state for t in ended(finished)] == ["complete"] * 4
    for trial in ended(finished):
        names = {path.name for path in trial.folder.iterdir()}
        assert names == {
            "recipe.json",
            "plan.json",
            "weights.safetensors",
            "measurement.json",
            "curve.json",
            "layers.json",
            "profile.json",
            "stages.json",
        }
    assert (finished.path / "baseline" / "weights.safetensors").exists()


def test_the_first_trial_is_the_folded_baseline(finished):
    first, baseline = finished.trial(0), finished.baseline
    assert first.recipe["sparsification"] is None
    assert first.metrics["parameters"] < baseline["parameters"]
    assert first.metrics["parameter_ratio"] > 0.98


def test_the_front_is_not_dominated_and_was_opened_on_test(finished):
    front = finished.front()
    assert front
    keys = ("latency_ms", "parameters")
    for one in front:
        for other in ended(finished):
            better = other.metrics["accuracy"] >= one.metrics["accuracy"] and all(
                other.metrics[key] <= one.metrics[key] for key in keys
            )
            assert not better or other.metrics == one.metrics or other.number == one.number
        assert 0 <= one.metrics["test_accuracy"] <= 1
        assert one.metrics["final_latency_ms"] > 0
        stages = one.metrics["stages"]
        assert all(stage["latency_ms"] > 0 for stage in stages)
        assert stages[-1]["parameters"] == one.metrics["parameters"]
        assert stages[-1]["accuracy"] == one.metrics["accuracy"]
    assert 0 <= finished.baseline["test_accuracy"] <= 1
    off = [t for t in ended(finished) if t.number not in {f.number for f in front}]
    assert all("test_accuracy" not in trial.metrics for trial in off)


def test_parameters_are_those_of_the_saved_weights(finished):
    from safetensors.torch import load_file

    for trial in finished.front():
        state = load_file(trial.folder / "weights.safetensors")
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        count = sum(t.numel() for name, t in state.items() if not name.endswith(buffers))
        assert count == trial.metrics["parameters"]


def test_the_table_has_a_row_per_trial(finished):
    table = finished.table()
    assert list(table["trial"])[:4] == [0, 1, 2, 3]
    assert {"accuracy", "latency_ms", "parameters", "recipe.sparsity", "on_front"} <= {*table}


def test_the_front_document_is_what_the_command_line_promises(finished):
    document = json.loads(json.dumps(finished.front_document()))
    assert set(document) == {"study", "objectives", "baseline", "front", "trials"}
    assert document["trials"]["complete"] == 4
    wanted = {"trial", "accuracy", "latency_ms", "latency_ratio", "parameters", "parameter_ratio"}
    assert all(
        wanted | {"size_bytes", "macs", "feasible", "recipe"} <= set(m) for m in document["front"]
    )
    assert {"accuracy", "latency_ms", "parameters", "size_bytes"} <= set(document["baseline"])


def test_progress_is_told(finished, events):
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert kinds.count(TrialDone) == 4
    assert kinds.count(LastWord) == len(finished.front())


@pytest.mark.parametrize(
    ("how", "key", "best"),
    [("accurate", "accuracy", max), ("fast", "latency_ms", min), ("small", "parameters", min)],
)
def test_picks_are_extremes_of_the_front(finished, how, key, best):
    front = finished.front()
    assert finished.pick(how).metrics[key] == best(t.metrics[key] for t in front)


def test_a_demand_that_nothing_meets_tells_what_is_there(finished):
    demands = Demands(max_latency_ms=1e-9)
    with pytest.raises(UsageError, match=r"nearest is trial \d+ \(it misses latency_ms\)"):
        finished.pick("fast", demands)
    assert finished.front(demands) == []


def test_a_second_run_of_the_same_name_is_refused(finished):
    config = load_study(study_file(finished.path.parent.parent), [])
    with pytest.raises(RunError, match="autocompress resume"):
        run(config, directory=finished.path.parent)


def test_what_fails_before_the_first_trial_leaves_no_folder(tmp_path, monkeypatch):
    def fail(settings):
        raise ConfigurationError("latency.device: there is no such device here")

    config = load_study(study_file(tmp_path), [])
    with pytest.raises(ConfigurationError, match="cannot express the recipe"):
        run(config, directory=tmp_path / "runs", recipes=[{"granularity": "kernel"}])
    monkeypatch.setattr(running, "fingerprint", fail)
    with pytest.raises(ConfigurationError, match="no such device"):
        run(config, directory=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*"))


def test_a_folder_that_holds_something_else_is_refused_and_kept(tmp_path):
    mine = tmp_path / "micro" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RunError, match="is not a run: move it away"):
        run(load_study(study_file(tmp_path), []), directory=tmp_path)
    assert mine.read_text() == "mine"


GIVEN = [
    {"sparsity": sparsity, "linear_sparsity": 0.5, "distillation": "none", "rank": 1.0}
    for sparsity in (0.4, 0.5)
]


@pytest.mark.parametrize("given", [None, GIVEN], ids=["shipped", "given"])
def test_recipes_that_a_kill_left_out_are_enqueued_by_resume(tmp_path, monkeypatch, given):
    class Killed(BaseException):
        pass

    def enqueue_one(study, config, recipes):
        for recipe in (recipes or [])[:1]:
            study.enqueue_trial(recipe)
        raise Killed

    config = load_study(study_file(tmp_path), ["study.trials=1"])
    monkeypatch.setattr(running, "enqueue", enqueue_one)
    with pytest.raises(Killed):
        run(config, directory=tmp_path / "runs", recipes=given)
    monkeypatch.undo()
    done = resume(tmp_path / "runs" / "micro")
    wanted = given or [params for _, params in shipped_params(config.space())]
    study = optuna.load_study(study_name="micro", storage=open_storage(done.path))
    enqueued = [trial.system_attrs["fixed_params"] for trial in study.trials]
    assert enqueued == wanted
    enqueue(study, config, None)
    assert len(study.trials) == len(wanted)


def test_resume_adds_trials_and_speaks_the_last_word_again(copied):
    before = Run.open(copied)
    kept = {t.number: t.metrics["accuracy"] for t in ended(before)}
    after = resume(copied, trials=6)
    assert len(ended(after)) == after.status()["trials"]["wanted"] == 6
    assert all(after.trial(number).metrics["accuracy"] == a for number, a in kept.items())
    assert after.finished
    assert all("test_accuracy" in trial.metrics for trial in after.front())


def test_a_finished_run_has_nothing_to_do(copied):
    heard = []
    resume(copied, progress=heard.append)
    assert not [event for event in heard if isinstance(event, TrialDone)]


@pytest.mark.parametrize(
    ("old", "new", "section"),
    [
        ("high = 0.8", "high = 0.7", "search"),
        ("hidden = 32", "hidden = 40", "model"),
        ("valid_limit = 150", "valid_limit = 140", "data"),
        ("batch_size = 50", "batch_size = 40", r"data\.batch_size"),
        ("train_limit", "mean = [0.5]\nstd = [0.5]\ntrain_limit", r"data\.mean, data\.std"),
        ('augmentation = "none"', 'augmentation = "shift"', r"data\.augmentation"),
        ("seed = 1\n", "seed = 2\n", r"study\.seed"),
        ("recovery_epochs = 1", "recovery_epochs = 2", "training"),
    ],
)
def test_resuming_with_something_changed_is_refused(copied, old, new, section):
    path = copied / "study.toml"
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new))
    with pytest.raises(RunError, match=section):
        resume(copied, trials=6)


def test_limits_may_be_edited_and_hold_at_once(copied):
    opened, path = Run.open(copied), copied / "study.toml"
    assert len(opened.front()) > 1
    smallest = min(trial.metrics["parameters"] for trial in opened.front())
    text = path.read_text()
    path.write_text(text.replace("[limits]", f"[limits]\nparameters = {smallest}"))
    assert [trial.metrics["parameters"] for trial in opened.front()] == [smallest]
    assert opened.limits == {"parameters": {"most": smallest}}
    assert resume(copied).front_document()["front"][0]["parameters"] == smallest
    path.write_text(text.replace("[limits]", "[limits]\nparameter = 1"))
    with pytest.raises(RunError, match=r"study.toml.*limits\.parameter: unknown key"):
        opened.front()


def test_resuming_on_other_hardware_is_refused(copied):
    header = json.loads((copied / "run.json").read_text())
    key = next(iter(header["fingerprint"]))
    header["fingerprint"][key] = "something else"
    (copied / "run.json").write_text(json.dumps(header))
    with pytest.raises(RunError, match="other hardware or software"):
        resume(copied, trials=6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", b"{", "not valid JSON"),
        ("run.json", b'{"format": 99}', "format"),
        ("study.toml", b"[study", "cannot be read"),
        ("study.db", b"no database", "damaged"),
    ],
)
def test_a_damaged_run_is_told(copied, name, content, message):
    for extra in copied.glob("study.db-*"):
        extra.unlink()
    (copied / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        Run.open(copied).trials()


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(RunError, match="not a run"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match="not a folder"):
        Run.open(tmp_path / "missing")


BRITTLE = """
from autocompress.models import vgg_small

class Brittle(vgg_small(num_classes=10, channels=1).__class__):
    def forward(self, x):
        if self.training and bool((self[0][0].weight.flatten(1) == 0).all(1).any()):
            raise RuntimeError("a filter died")
        return super().forward(x)

def net(num_classes, channels):
    model = vgg_small(
        num_classes=num_classes, channels=channels, widths=(8, 16), layers_per_stage=1, hidden=32
    )
    model.__class__ = Brittle
    return model
"""


def test_a_trial_that_breaks_fails_alone_with_stage_and_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brittle.py").write_text(BRITTLE)
    lines = [line for line in STUDY.splitlines() if not line.startswith("kwargs")]
    text = "\n".join(lines).replace("autocompress:vgg_small", "brittle:net")
    done = run(load_study(study_file(tmp_path, text), []), directory=tmp_path / "runs")
    states = [t.state for t in ended(done)]
    assert states[0] == "complete"
    failed = next(t for t in done.trials() if t.state == "failed")
    assert failed.stage == "sparsify"
    assert failed.reason == "RuntimeError: a filter died"
    assert len(states) == 4
    assert done.finished


def test_a_trial_that_kills_its_process_fails_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deadly = BRITTLE.replace('raise RuntimeError("a filter died")', "os.abort()")
    (tmp_path / "deadly.py").write_text("import os\n" + deadly)
    lines = [line for line in STUDY.splitlines() if not line.startswith("kwargs")]
    text = "\n".join(lines).replace("autocompress:vgg_small", "deadly:net")
    done = run(load_study(study_file(tmp_path, text), ["study.trials=2"]), directory=tmp_path)
    assert [t.state for t in ended(done)] == ["complete", "failed"]
    assert done.trial(1).stage == "process"
    assert "SIGABRT" in done.trial(1).reason


def test_a_trial_that_breaks_the_gpu_ends_its_process_and_another_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = 'raise torch.AcceleratorError("CUDA error: an illegal memory access")'
    code = BRITTLE.replace('raise RuntimeError("a filter died")', "Brittle.broken = True")
    code = code.replace("return", f"if hasattr(Brittle, 'broken'): {broken}\n        return", 1)
    (tmp_path / "illegal.py").write_text("import torch\n" + code)
    lines = [line for line in STUDY.splitlines() if not line.startswith("kwargs")]
    text = "\n".join(lines).replace("autocompress:vgg_small", "illegal:net")
    knobs = {"linear_sparsity": 0.0, "distillation": "none", "rank": 1.0}
    recipes = [{"sparsity": share, **knobs} for share in (0.5, 0.0)]
    config = load_study(study_file(tmp_path, text), ["study.trials=2"])
    done = run(config, directory=tmp_path, recipes=recipes)
    assert [t.state for t in ended(done)] == ["failed", "complete"]
    assert done.trial(0).stage == "sparsify"
    assert done.trial(0).reason == "AcceleratorError: CUDA error: an illegal memory access"


def test_several_workers_share_the_trials(tmp_path):
    config = load_study(study_file(tmp_path), ["study.trials=4"])
    done = run(config, directory=tmp_path / "runs", workers=2)
    assert [t.state for t in ended(done)] == ["complete"] * 4
    with pytest.raises(ConfigurationError, match="workers"):
        run(config, directory=tmp_path / "other", workers=0)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_same_recipe_is_not_trained_twice(tmp_path, sampler):
    text = STUDY.split("[search]")[0] + "[search]\nsparsity = [0.0, 0.5]\n"
    settings = ["study.trials=3", f"study.sampler={sampler}"]
    config = load_study(study_file(tmp_path, text), settings)
    done = run(config, directory=tmp_path / "runs")
    assert [t.state for t in ended(done)] == ["complete", "complete", "pruned"]
    assert "the same recipe as trial" in done.trial(2).reason
    assert not done.trial(2).feasible
    assert 2 not in [trial.number for trial in done.front()]


def test_limits_stop_drafts_and_mark_the_infeasible(tmp_path):
    text = STUDY + "\n[limits]\nparameter_ratio = 0.5\n"
    config = load_study(study_file(tmp_path, text), ["study.trials=3"])
    done = run(config, directory=tmp_path / "runs")
    first = done.trial(0)  # the folded baseline is over the limit
    assert first.state == "pruned"
    assert "over the limit" in first.reason
    assert all(trial.metrics["parameter_ratio"] <= 0.5 for trial in done.front())


def test_a_training_run_yields_more_than_one_candidate(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(harvesting, "SHARE", 1000)
    monkeypatch.setattr(harvesting, "promising", lambda found, curve: found)
    monkeypatch.setattr(harvesting, "leads", lambda *_: True)
    settings = Factorization(energy=0.9, convolution_energy=0.9, min_rank=1)  # for a tiny net
    alike = replace(settings, energy=0.9 + 1e-9)  # leads to the same ranks
    monkeypatch.setattr(
        harvesting,
        "lower_ranks",
        lambda recipe, plan, exclude: [
            Offshoot(replace(recipe, late_factorization=late)) for late in (settings, alike)
        ],
    )
    folder = shutil.copytree(finished.path, tmp_path / "micro")
    edited = (folder / "study.toml").read_text().replace("epochs = 1\n", "epochs = 4\n")
    (folder / "study.toml").write_text(edited)
    study, objective = open_bench(folder, worker=1, follower=Follower())
    optimize(study, objective, 1, None, "test")
    *_, parent = [t for t in Run.open(folder).trials() if t.counts]
    harvested = [t for t in Run.open(folder).trials() if t.harvested_from is not None]
    assert {trial.harvested_from for trial in harvested} == {parent.number}
    assert Run.open(folder).front_document()["trials"]["harvested"] == len(harvested)
    late = [trial for trial in harvested if trial.recipe["late_factorization"]]
    levels = [trial for trial in harvested if trial.recipe["training"]["stop_after"]]
    assert len(late) == 1
    assert levels
    for trial in harvested:
        assert trial.state == "complete"
        assert trial.folder.name.startswith(f"{parent.number:05d}.")
        assert trial.metrics["parameters"] != parent.metrics["parameters"]
    for trial in late:
        assert trial.metrics["parameters"] < parent.metrics["parameters"]
        assert trial.params["sparsity"] == parent.params["sparsity"]
        assert "late energy" in recipe_in_short(trial.recipe)
    for trial in levels:
        assert trial.recipe["training"]["recovery_epochs"] == 0
        assert 0 < trial.params["sparsity"] < parent.params["sparsity"]
        assert "left after epoch" in recipe_in_short(trial.recipe)


class Stopped(Follower):
    """What a worker that was told to stop follows with."""

    def batch(self):
        raise KeyboardInterrupt


def test_who_is_told_to_stop_begins_no_trial_and_harvests_nothing(copied, monkeypatch):
    study, objective = open_bench(copied, worker=1, follower=Stopped())
    before = len(study.trials)
    with pytest.raises(KeyboardInterrupt):
        optimize(study, objective, 1, None, "test")
    assert len(study.trials) == before
    offshoots = [Offshoot(Recipe())]
    monkeypatch.setattr(harvesting, "leads", lambda *_: True)
    monkeypatch.setattr(harvesting, "lower_ranks", lambda *_: offshoots)
    parent, made = study.trials[0], SimpleNamespace(plan=None, curve=())
    crop = Crop(0, Recipe(), {}, {}, made, 0.0)
    objective.harvester.keep(crop, trial_s=1000)
    with pytest.raises(KeyboardInterrupt):
        objective.harvester.gather(study, parent)
    assert len(study.trials) == before


def test_economies_can_be_left_out(tmp_path):
    off = [f"study.{name}=false" for name in ("draft", "early_stopping", "harvest")]
    settings = ["study.trials=2", "training.epochs=20", "latency.budget_s=0.01", *off]
    done = run(load_study(study_file(tmp_path), settings), directory=tmp_path / "runs")
    assert [trial.state for trial in ended(done)] == ["complete"] * 2
    assert all("draft" not in trial.seconds for trial in ended(done))


def test_check_trains_nothing_and_explains_the_model(tmp_path):
    document = check(load_study(study_file(tmp_path), []))
    assert document["data"]["train"] == 300
    assert document["model"]["output_shape"][1] == 10
    assert [unit["units"] for unit in document["units"]][:2] == [8, 16]
    assert not list(tmp_path.glob("runs/*"))


def test_images_that_do_not_fit_are_told(tmp_path):
    text = STUDY.replace('"autocompress:vgg_small"', '"torchvision:alexnet"')
    text = text.replace(
        "kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }\n", ""
    )
    with pytest.raises(ConfigurationError, match="do not fit the model"):
        run(load_study(study_file(tmp_path, text), []), directory=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def _launch(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "autocompress.cli", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_trial(folder: Path, count: int, process: subprocess.Popen) -> None:
    database = folder / "runs" / "micro" / "study.db"
    deadline = time.monotonic() + 300  # a busy machine imports torch in a minute
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        if not database.exists():
            continue
        with contextlib.closing(sqlite3.connect(database)) as connection:
            try:
                rows = connection.execute("select state from trials").fetchall()
            except sqlite3.OperationalError:
                continue
        states = [state for (state,) in rows]
        if states.count("COMPLETE") >= count and "RUNNING" in states:
            return
    process.kill()
    raise AssertionError(f"no trial was running in time: {process.communicate()}")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_interrupted_run_loses_only_its_running_trial(tmp_path, how):
    study_file(tmp_path, STUDY.replace("trials = 4", "trials = 10"))
    process = _launch(tmp_path, "run", "study.toml")
    _wait_for_trial(tmp_path, 1, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), errors
    if how == signal.SIGINT:
        assert "autocompress resume" in errors
        assert "Traceback" not in errors
    before = Run.open(tmp_path / "runs/micro")
    complete = {t.number for t in before.trials() if t.state == "complete"}
    assert complete
    lost = [t for t in before.trials() if t.state == "running" or t.recipe][len(complete) :]
    assert not before.status()["active"]
    after = resume(tmp_path / "runs" / "micro")
    again = {t.number: t for t in after.trials()}
    assert all(again[number].state == "complete" for number in complete)
    assert sum(t.state in ("complete", "pruned") for t in ended(after)) == 10
    for trial in lost:
        assert again[trial.number].state in ("complete", "pruned")
        assert trial.params.items() <= again[trial.number].params.items()
    first = [t.started for t in sorted(ended(after), key=lambda t: t.number)]
    assert first == sorted(first)  # it was the next to run, before those that waited
