"""Studies on real digits, end to end, with a net small enough for seconds per trial."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.events import FinalEvaluation, Finished, Started, TrialDone, ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.runs import Run
from autocompress.space.initial import initial_params
from autocompress.study.budget import Amount
from autocompress.study.check import check
from autocompress.study.run import begin, go_on, resume_run, run_study

from small_studies import STUDY, MadeUpTarget, own_trials, study_in

RELEASE_0_1 = Path(__file__).parents[1] / "runs" / "release_0_1"


def resumed(path, trials=None, progress=ignore):
    amount = Amount(trials=trials)
    return resume_run(path, amount=amount, executor=InlineExecutor(), progress=progress)


def made_up(problem, config, directory, **options):
    """Run a study with the data of ``problem`` on its made-up target."""
    given = {"amount": Amount(), "recipes": None, "executor": InlineExecutor(), "progress": ignore}
    problem = replace(problem, config=config, target=MadeUpTarget())
    return begin(problem, directory=directory, **{**given, **options})


def test_a_run_holds_everything_it_found(finished):
    assert finished.finished
    assert [trial.state for trial in finished.trials()] == ["complete"] * 4
    for trial in finished.trials():
        names = {path.name for path in trial.folder.iterdir()}
        assert names == {
            "recipe.json",
            "plan.json",
            "weights.safetensors",
            "trainable.safetensors",
            "measurement.json",
            "curve.json",
            "layers.json",
            "profile.json",
            "stages.json",
        }
    names = {path.name for path in (finished.path / "baseline").iterdir()}
    assert {"weights.safetensors", "curve.json", "evaluation.json", "units.json"} <= names


def test_the_first_trial_is_the_folded_baseline(finished):
    first, baseline = finished.trial(0), finished.baseline
    assert (first.name, first.origin) == ("folded", "initial")
    assert first.recipe["sparsification"] is None
    ratio = first.metrics["parameters"].value / baseline["parameters"].value
    assert 0.98 < ratio < 1


def test_the_front_is_not_dominated_and_was_scored_on_test(finished):
    front = finished.front()
    assert front
    keys = ("latency_ms", "parameters")
    for one in front:
        found = one.searched
        for other in finished.trials():
            rival = other.searched
            better = rival["accuracy"].value >= found["accuracy"].value and all(
                rival[key].value <= found[key].value for key in keys
            )
            assert not better or rival == found or other.number == one.number
        assert 0 <= one.metrics["test_accuracy"].value <= 1
        assert one.metrics["latency_ms"].value > 0
        assert one.metrics["latency_ms"] != one.searched["latency_ms"]
        assert all(stage.latency_ms > 0 for stage in one.final_stages)
        assert one.final_stages[-1].parameters == found["parameters"].value
        assert one.final_stages[-1].score == found["accuracy"].value
        assert [s.stage for s in one.final_stages] == [s.stage for s in one.stages]
    assert 0 <= finished.baseline["test_accuracy"].value <= 1
    off = [t for t in finished.trials() if t.number not in {f.number for f in front}]
    assert all("test_accuracy" not in trial.metrics for trial in off)


def test_parameters_are_those_of_the_saved_weights(finished):
    for trial in finished.front():
        state = load_file(trial.folder / "weights.safetensors")
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        count = sum(t.numel() for name, t in state.items() if not name.endswith(buffers))
        assert count == trial.metrics["parameters"].value


def test_the_table_has_a_row_per_trial(finished):
    table = finished.table()
    assert list(table["trial"]) == [0, 1, 2, 3]
    assert {"accuracy", "latency_ms", "parameters", "params.sparsity", "on_front"} <= {*table}


def test_the_front_document_is_what_the_command_line_promises(finished):
    document = json.loads(json.dumps(finished.front_document()))
    assert set(document) == {"study", "objectives", "baseline", "front", "trials"}
    assert document["trials"]["complete"] == 4
    wanted = {"trial", "accuracy", "latency_ms", "latency_ratio", "parameters", "parameter_ratio"}
    assert all(
        wanted | {"size_bytes", "macs", "feasible", "recipe"} <= set(m) for m in document["front"]
    )
    assert {"accuracy", "latency_ms", "parameters", "size_bytes"} <= set(document["baseline"])


def test_progress_is_reported(finished, small_study):
    kinds = [type(event) for event in small_study.events]
    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert kinds.count(TrialDone) == 4
    assert kinds.count(FinalEvaluation) == len(finished.front())


@pytest.mark.parametrize(
    ("how", "key", "best"),
    [("accurate", "accuracy", max), ("fast", "latency_ms", min), ("small", "parameters", min)],
)
def test_picks_are_extremes_of_the_front(finished, how, key, best):
    front = finished.front()
    assert finished.pick(how).metrics[key].value == best(t.metrics[key].value for t in front)


def test_a_budget_that_nothing_keeps_names_the_nearest(finished):
    with pytest.raises(UsageError, match=r"nearest is trial \d+ \(it misses latency_ms\)"):
        finished.pick("fast", {"latency_ms": 1e-9})
    assert finished.front({"latency_ms": 1e-9}) == []


def test_a_second_run_of_the_same_name_is_refused(finished, small_study):
    with pytest.raises(RunError, match="autocompress resume"):
        run_study(small_study.config, directory=finished.path.parent)


def test_what_fails_before_the_first_trial_leaves_no_folder(tmp_path, small_problem):
    config = study_in(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot express the recipe"):
        run_study(config, directory=tmp_path / "runs", recipes=[{"granularity": "kernel"}])
    with pytest.raises(ConfigurationError, match="no such device"):
        begin(
            replace(small_problem, target=MadeUpTarget(problem="there is no such device here")),
            directory=tmp_path / "runs",
            amount=Amount(),
            recipes=None,
            executor=InlineExecutor(),
            progress=ignore,
        )
    text = STUDY.replace('"autocompress:vgg_small"', '"torchvision:alexnet"')
    lines = [line for line in text.splitlines() if not line.startswith("kwargs")]
    config = study_in(tmp_path, text="\n".join(lines))
    with pytest.raises(ConfigurationError, match=r"model\.factory: inputs .* do not fit"):
        run_study(config, directory=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_ended_before_its_baseline_does_not_block_its_name(finished, tmp_path):
    folder = tmp_path / "micro"
    folder.mkdir()
    for name in ("study.toml", "run.json"):
        shutil.copy(finished.path / name, folder)
    config = study_in(tmp_path, "study.trials=1", "model.epochs=0", "training.epochs=0")
    run = run_study(config, directory=tmp_path, executor=InlineExecutor(), amount=Amount(trials=1))
    assert len(own_trials(run)) == 1
    with pytest.raises(RunError, match=r"exists; go on with it \(autocompress resume .*=True"):
        run_study(config, directory=tmp_path)


def test_a_folder_that_holds_something_else_is_refused_and_kept(tmp_path):
    mine = tmp_path / "micro" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RunError, match="is not a run: move it away"):
        run_study(study_in(tmp_path), directory=tmp_path)
    assert mine.read_text() == "mine"


def test_resume_adds_trials_and_evaluates_the_front_again(copied, small_study):
    before = Run.open(copied)
    kept = {trial.number: trial.searched for trial in before.trials()}
    after = resumed(copied, trials=6)
    assert len(own_trials(after)) == after.status().wanted == 6
    assert all(after.trial(number).searched == found for number, found in kept.items())
    assert after.finished
    assert all("test_accuracy" in trial.metrics for trial in after.front())
    initial = [name for name, _ in initial_params(small_study.config.space())]
    assert [trial.name for trial in after.trials()] == initial[:6]  # where the first had stopped
    again = []
    resumed(copied, progress=again.append)  # as many as the last session was asked for
    assert not [event for event in again if isinstance(event, TrialDone | FinalEvaluation)]


GIVEN = [
    {"sparsity": sparsity, "linear_sparsity": 0.5, "distillation": "none", "rank": 1.0}
    for sparsity in (0.4, 0.5)
]


def test_recipes_that_a_run_was_given_are_gone_on_with(tmp_path, small_problem):
    config = study_in(tmp_path)
    one = Amount(trials=1)
    done = made_up(small_problem, config, tmp_path / "runs", amount=one, recipes=GIVEN)
    assert [trial.params["sparsity"] for trial in done.trials()] == [0.4]
    problem = replace(small_problem, config=config, target=MadeUpTarget())
    options = {"executor": InlineExecutor(), "progress": ignore}
    after = go_on(problem, done, amount=Amount(trials=2), **options)
    assert [trial.params["sparsity"] for trial in after.trials()] == [0.4, 0.5]
    assert [trial.name for trial in after.trials()] == ["given 0", "given 1"]
    assert all(
        wish.items() <= t.params.items() for wish, t in zip(GIVEN, after.trials(), strict=True)
    )


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
        ("threads = 1", "threads = 2", "target"),
        ("seed = 1\n", 'seed = 1\nobjectives = ["accuracy", "macs"]\n', "objectives"),
    ],
)
def test_resuming_with_something_changed_is_refused(copied, old, new, section):
    path = copied / "study.toml"
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new))
    with pytest.raises(RunError, match=section):
        resumed(copied, trials=6)


def test_limits_may_be_edited_and_hold_at_once(copied):
    opened, path = Run.open(copied), copied / "study.toml"
    assert len(opened.front()) > 1
    smallest = min(trial.metrics["parameters"].value for trial in opened.front())
    text = path.read_text()
    path.write_text(text.replace("[limits]", f"[limits]\nparameters = {smallest}"))
    assert [trial.metrics["parameters"].value for trial in opened.front()] == [smallest]
    assert opened.limits.bounds({}) == {"parameters": smallest}
    assert resumed(copied).front_document()["front"][0]["parameters"] == smallest
    path.write_text(text.replace("[limits]", "[limits]\nparameter = 1"))
    with pytest.raises(RunError, match=r"study.toml.*limits\.parameter: unknown key"):
        opened.front()


def test_resuming_on_other_hardware_is_refused(copied):
    header = json.loads((copied / "run.json").read_text())
    key = next(iter(header["fingerprint"]))
    header["fingerprint"][key] = "something else"
    (copied / "run.json").write_text(json.dumps(header))
    with pytest.raises(RunError, match="other hardware or software"):
        resumed(copied, trials=6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", b"{", "not valid JSON"),
        ("run.json", b'{"format": 99}', "format"),
        ("study.toml", b"[study", "cannot be read"),
        ("trials.jsonl", b"no journal\n", "not an event"),
    ],
)
def test_a_damaged_run_is_refused_with_the_file(copied, name, content, message):
    (copied / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        resumed(copied, trials=6)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run"):
        resumed(tmp_path)
    with pytest.raises(RunError, match="not a folder"):
        resumed(tmp_path / "missing")


def test_a_run_of_release_0_1_is_not_gone_on_with(tmp_path):
    old = shutil.copytree(RELEASE_0_1, tmp_path / "old")
    with pytest.raises(RunError, match=r"written by autocompress 0\.1.*start a new run"):
        resumed(old, trials=6)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_same_recipe_is_not_trained_twice(tmp_path, small_problem, sampler):
    text = STUDY.split("[search]")[0] + "[search]\nsparsity = [0.0, 0.5]\n"
    config = study_in(tmp_path, "study.trials=3", f"study.sampler={sampler}", text=text)
    done = made_up(small_problem, config, tmp_path / "runs")
    assert [trial.state for trial in done.trials()] == ["complete", "complete"]
    assert done.finished


def test_limits_end_what_is_surely_over_them_and_mark_the_infeasible(tmp_path, small_problem):
    text = STUDY + "\n[limits]\nparameter_ratio = 0.5\n"
    config = study_in(tmp_path, "study.trials=3", text=text)
    done = made_up(small_problem, config, tmp_path / "runs")
    first = done.trial(0)  # the folded baseline is over the limit
    assert first.state == "pruned"
    assert "over the limit" in first.reason
    assert not first.curve
    baseline = done.baseline["parameters"].value
    assert done.front()
    assert all(t.metrics["parameters"].value <= baseline / 2 for t in done.front())


def test_what_saves_time_can_be_left_out(tmp_path, small_problem):
    off = [f"study.{name}=false" for name in ("estimate", "early_stopping", "derive")]
    text = STUDY + "\n[limits]\nparameter_ratio = 0.5\n"
    config = study_in(tmp_path, "study.trials=2", "training.epochs=8", *off, text=text)
    done = made_up(small_problem, config, tmp_path / "runs")
    assert [trial.state for trial in done.trials()] == ["complete"] * 2
    assert all("estimate" not in trial.seconds for trial in done.trials())


def test_plan_trains_nothing_and_explains_the_model(tmp_path):
    found = check(study_in(tmp_path, "limits.accuracy_drop=0.1"))
    assert found.data.sizes["train"] == 300
    assert found.data.inputs == (1, 8, 8)
    assert found.model.outputs[1] == 10
    assert [group.units for group in found.structure.units][:2] == [8, 16]
    assert found.structure.staying
    assert set(found.space) >= {"sparsity", "rank"}
    assert found.objectives == {
        "accuracy": "maximize",
        "latency_ms": "minimize",
        "parameters": "minimize",
    }
    assert found.limits == {"accuracy_drop": 0.1}
    assert (found.study, found.trials, found.device) == ("micro", 4, "cpu")
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_plan_names_a_device_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="device"):
        check(study_in(tmp_path, 'target.device="cuda"'))
