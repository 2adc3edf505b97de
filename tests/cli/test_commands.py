import json
import os
import signal
import subprocess
import sys
import types

import optuna
import pytest

from autocompress import cli, errors, events
from autocompress.dashboard.document import overview
from autocompress.study import Demands, Run
from autocompress.study.records import WANTED
from autocompress.study.storage import only_writer, open_storage
from autocompress.wording import ratio_interval

from made_up_runs import BASELINE, REASON, made_up_run

COMMANDS = (
    "run",
    "resume",
    "plan",
    "status",
    "front",
    "show",
    "bench",
    "report",
    "export",
    "reproduce",
    "init",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "made_up", complete=8)


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["autocompress", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        told = capsys.readouterr()
        return left.value.code or 0, told.out, told.err

    return call


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study with a valid file and a made-up search: ``study.run`` decides how it ends."""
    fake = types.ModuleType("autocompress.study.running")
    config = types.SimpleNamespace(study=types.SimpleNamespace(name="made_up"))
    monkeypatch.setitem(sys.modules, "autocompress.study.running", fake)
    monkeypatch.setattr("autocompress.config.load_study", lambda path, overrides: config)
    fake.config = config
    return fake


def test_every_command_explains_itself_with_an_example(call):
    for command in COMMANDS:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert f"Example: autocompress {command} " in " ".join(out.split())


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    code, out, _ = call("--version")
    assert (code, out.split()[0]) == (0, "autocompress")


def test_wrong_usage_is_exit_code_2(call):
    for arguments in (["compress"], ["run"], ["run", "study.toml", "--trials", "none"]):
        code, out, err = call(*arguments)
        assert code == 2
        assert out == ""
        assert "Usage" in err
    code, _, err = call("run", "study.toml", "--timeout", "soon")
    assert code == 2
    assert "duration such as" in " ".join(err.split())


def test_a_wrong_study_file_tells_all_problems_without_a_traceback(call, monkeypatch):
    def fail(path, overrides):
        raise errors.ConfigurationError(["study.toml:3: first", "study.toml:9: second"])

    monkeypatch.setattr("autocompress.config.load_study", fail)
    code, out, err = call("run", "study.toml")
    assert (code, out) == (2, "")
    assert err == "autocompress: study.toml:3: first\nstudy.toml:9: second\n"


@pytest.mark.parametrize("command", [["status"], ["front"], ["show", "0"], ["resume"], ["report"]])
def test_a_folder_that_is_no_run_is_told(call, tmp_path, command):
    code, out, err = call(command[0], tmp_path, *command[1:])
    assert (code, out) == (2, "")
    assert err.startswith(f"autocompress: {tmp_path} is not a run")


def test_front_shows_baseline_and_members(call, finished):
    code, out, err = call("front", finished.path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "made_up: the Pareto front"
    assert "test" in lines[1]
    assert lines[2].startswith("baseline")
    assert "98.20 %" in lines[2]
    assert len(lines) == 3 + len(finished.front())


def test_front_as_json_is_the_document_and_nothing_else(call, finished):
    code, out, err = call("front", finished.path, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {"study", "objectives", "baseline", "front", "trials"} <= set(told)
    assert [member["trial"] for member in told["front"]] == [t.number for t in finished.front()]
    assert told["baseline"]["latency_ms"] == BASELINE["latency_ms"]


def test_front_within_a_budget(call, finished):
    slowest = finished.front()[-1]
    least = slowest.metrics["accuracy"]
    code, out, _ = call("front", finished.path, "--min-accuracy", least, "--json")
    assert code == 0
    assert all(member["accuracy"] >= least for member in json.loads(out)["front"])
    code, out, err = call("front", finished.path, "--max-parameters", 1)
    assert code == 3
    assert "baseline" in out
    assert "nearest is trial" in err


def test_the_latency_of_the_last_word_is_the_one_that_counts(call, finished):
    member = finished.front()[0]
    searched, last = (member.metrics[f"{when}_latency_ms"] for when in ("search", "final"))
    assert last == pytest.approx(1.01 * searched)
    assert ratio_interval(member.metrics) in call("front", finished.path)[1]
    told = json.loads(call("front", finished.path, "--json")[1])["front"]
    assert told == sorted(told, key=lambda other: other["latency_ms"])
    assert told[0]["latency_ms"] == last
    assert told[0]["latency_ratio_low"] < told[0]["latency_ratio"] < told[0]["latency_ratio_high"]
    most = (searched + last) / 2
    assert call("front", finished.path, "--max-latency-ms", most)[0] == 3
    with pytest.raises(errors.UsageError, match=f"latency {last:.3f} ms"):
        finished.pick("fast", Demands(max_latency_ms=most))
    assert "latency, in the search" in call("show", finished.path, member.number)[1]


def test_what_keeps_all_trials_off_the_front_is_told(call, study, tmp_path):
    made_up = made_up_run(tmp_path / "run", complete=0, failed=0, pruned=0, finished=False)
    opened = optuna.load_study(study_name="run", storage=open_storage(made_up.path))
    (made_up.path / "baseline").mkdir()
    (made_up.path / "baseline" / "metrics.json").write_text(json.dumps(BASELINE))
    for drop in (0.2, 0.07):
        metrics = {"accuracy": 0.982 - drop, "latency_ms": 1.0, "parameters": 10}
        opened.add_trial(
            optuna.trial.create_trial(
                values=list(metrics.values()),
                user_attrs={"metrics": metrics, "sha256": "0"},
                constraints={"accuracy_drop": drop - 0.05, "unfinished": -1.0},
            )
        )
    study.run = lambda config, **_: Run.open(made_up.path)
    export = ("export", made_up.path, "-o", tmp_path / "bundle")
    for command in (("run", "study.toml"), ("front", made_up.path), export):
        code, _, err = call(*command)
        assert code == 3
        assert "limit accuracy_drop: broken by 2 of 2 trials, alone by 2" in err
        assert "nearest is trial 1: it breaks accuracy_drop by 0.02" in err
    assert not (tmp_path / "bundle").exists()
    loosened = (made_up.path / "study.toml").read_text().replace("drop = 0.05", "drop = 0.1")
    (made_up.path / "study.toml").write_text(loosened)
    told = json.loads(call("front", made_up.path, "--json")[1])
    assert [member["trial"] for member in told["front"]] == [1]


def test_status_tells_states_and_reasons(call, finished):
    code, out, _ = call("status", finished.path)
    assert code == 0
    assert "8 complete, 3 pruned, 2 failed, of 30 wanted" in out
    assert REASON in out
    assert json.loads(call("status", finished.path, "--json")[1])["trials"]["failed"] == 2


@pytest.mark.parametrize(
    ("wanted", "told", "progress"),
    [(60, "of 60 wanted", "13 of 60 trials"), (None, "of as many as fit the time", "13 trials")],
)
def test_status_tells_how_many_trials_were_asked_for(call, tmp_path, wanted, told, progress):
    run = made_up_run(tmp_path / "longer", complete=8, finished=False)
    study = optuna.load_study(study_name="longer", storage=open_storage(run.path))
    study.set_user_attr(WANTED, wanted)
    with only_writer(run.path):
        out = call("status", run.path)[1]
        assert told in out
        assert ("ETA" in out) is (wanted is not None)
        assert overview(run)["state"]["text"].startswith(f"running, {progress}")
    assert json.loads(call("status", run.path, "--json")[1])["trials"]["wanted"] == wanted
    assert overview(run)["state"]["text"] == f"interrupted, {progress}; resume goes on"
    assert "interrupted; `autocompress resume` goes on" in call("status", run.path)[1]
    assert "ETA" not in call("status", run.path)[1]


def test_front_says_which_latency_was_measured_under_load(call, tmp_path):
    run = made_up_run(tmp_path / "loud", complete=8)
    number = run.front()[0].number
    path = run.path / "last_word.json"
    words = json.loads(path.read_text())
    words["trials"][str(number)]["final_latency_flag"] = "other processes took 31 % of the time"
    path.write_text(json.dumps(words))
    code, _, err = call("front", run.path)
    assert code == 0
    assert err == (
        f"read the latency of trial {number} with care: other processes took 31 % of the time\n"
    )
    assert json.loads(call("front", run.path, "--json")[1])["front"][0]["latency_flag"]


def test_show_tells_whose_training_a_trial_shares(call, tmp_path):
    run = made_up_run(tmp_path / "shared", complete=4, harvested=1)
    (number, parent) = next(
        (t.number, t.harvested_from) for t in run.trials() if t.harvested_from is not None
    )
    told = f"trial {number}: complete, harvested from the training of trial {parent}"
    assert told in call("show", run.path, number)[1]


def test_show_tells_recipe_layers_curve_and_latency(call, finished):
    number = finished.front()[0].number
    code, out, _ = call("show", finished.path, number)
    assert code == 0
    for text in ("sparsification.criterion", "features.0", "recover", "p50 ", "accuracy"):
        assert text in out
    assert "time per layer" in out
    assert "layers with weights: " in out
    told = json.loads(call("show", finished.path, number, "--json")[1])
    assert told["layers"][0]["name"] == "features.0"


def test_show_of_a_run_without_profiles_leaves_the_time_per_layer_out(call, tmp_path):
    run = made_up_run(tmp_path / "older", complete=1, failed=0, pruned=0)
    (run.path / "trials" / "00000" / "profile.json").unlink()
    code, out, _ = call("show", run.path, 0)
    assert code == 0
    assert "features.0" in out
    assert "time per layer" not in out


@pytest.fixture
def benched(monkeypatch):
    fake = types.ModuleType("autocompress.study.benching")
    row = {"latency_ratio": 0.5, "latency_ratio_low": 0.48, "latency_ratio_high": 0.52}
    more = {"latency_ms": 1.0, "contention": 0.2, "flag": "noisy"}
    found = {
        "study": "made_up",
        "differences": ["cpu: 'A' before, 'B' now"],
        "trials": [{"trial": 3, "stored": {**row, "latency_ratio": 0.6}, **row, **more}],
    }
    fake.bench = lambda run, trials, tell: {**found, "wanted": trials}
    monkeypatch.setitem(sys.modules, "autocompress.study.benching", fake)


@pytest.mark.usefixtures("benched")
def test_bench_shows_stored_and_new_ratios_and_warns_of_other_hardware(call, finished):
    code, out, err = call("bench", finished.path)
    assert code == 0
    for text in ("0.60x (0.48 to 0.52)", "0.50x (0.48 to 0.52)", "20 %", "noisy"):
        assert text in out.splitlines()[-1]
    assert "WARNING: cpu: 'A' before, 'B' now" in err
    told = json.loads(call("bench", finished.path, 3, 5, "--json")[1])
    assert (told["wanted"], told["trials"][0]["trial"]) == ([3, 5], 3)


def test_show_of_a_failed_trial_tells_its_reason(call, finished):
    failed = next(trial for trial in finished.trials() if trial.state == "failed")
    code, out, _ = call("show", finished.path, failed.number)
    assert code == 0
    assert out.startswith(f"trial {failed.number}: failed in prune\nreason: {REASON}")


def test_an_unknown_trial_is_told(call, finished):
    code, _, err = call("show", finished.path, 99)
    assert code == 2
    assert "has no trial 99" in err


def test_an_empty_run_is_shown(call, tmp_path):
    run = made_up_run(tmp_path / "empty", complete=0, failed=0, pruned=0, finished=False)
    assert "none yet, of 30 wanted" in call("status", run.path)[1]
    assert "no finished trial" in call("front", run.path)[1]


def test_report_writes_one_page(call, finished, tmp_path):
    code, out, _ = call("report", finished.path, "-o", tmp_path / "page.html")
    assert (code, out) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").stat().st_size > 1_000_000


CHECK = {
    "bytes": 1000,
    "difference": 1e-7,
    "agreement": 1.0,
    "accuracy": 0.9712,
    "latency": {"p50_ms": 0.5},
    "baseline_latency": {"p50_ms": 1.0},
}


@pytest.fixture
def exporting(monkeypatch):
    """A made-up export: ``calls`` notes what it is asked for, ``rejected`` is what it rejects."""

    def export_trial(run, number, output, **options):
        fake.calls.append((number, output, options))
        files = {"model.pt2": 40_000, "README.md": 2_000}
        checks = {"model.pt2": CHECK}
        return {
            "bundle": str(output), "files": files, "checks": checks, "rejected": fake.rejected,
            "unwritten": fake.unwritten,
        }  # fmt: skip

    fake = types.ModuleType("autocompress.bundles")
    fake.export_trial, fake.calls = export_trial, []
    fake.rejected, fake.unwritten = {}, {}
    monkeypatch.setitem(sys.modules, "autocompress.bundles", fake)
    return fake


def test_export_exports_the_pick(call, finished, exporting, tmp_path):
    arguments = ("export", finished.path, "-o", tmp_path / "bundle")
    code, out, _ = call(*arguments, "--pick", "small")
    assert code == 0
    assert "2 files, 42.0 kB" in out
    assert "97.12 %" in out
    assert call(*arguments)[0] == 0
    last = finished.front()[-1].number
    assert call(*arguments, "--trial", last, "--format", "pt2, onnx", "--force")[0] == 0
    picked = [finished.pick(how).number for how in ("small", "balanced")]
    assert [number for number, *_ in exporting.calls] == [*picked, last]
    assert exporting.calls[0][1:] == (
        tmp_path / "bundle", {"formats": ("pt2",), "force": False}
    )  # fmt: skip
    assert exporting.calls[-1][2] == {"formats": ("pt2", "onnx"), "force": True}


def test_export_tells_what_it_wrote_as_json(call, finished, exporting, tmp_path):
    code, out, _ = call("export", finished.path, "-o", tmp_path / "b", "--trial", 0, "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["trial"], document["bundle"]) == (0, str(tmp_path / "b"))
    assert document["checks"] == {"model.pt2": CHECK}


def test_a_rejected_file_is_a_failure_with_its_reason(call, finished, exporting, tmp_path):
    exporting.rejected = {"model.onnx": "model.onnx: reloaded, its outputs differ"}
    for more in ((), ("--json",)):
        code, out, err = call("export", finished.path, "-o", tmp_path / "bundle", *more)
        assert code == 1
        assert "model.pt2" in out
        assert f"rejected, see {tmp_path}/bundle/rejected: model.onnx: reloaded, its" in err


def test_a_format_that_cannot_be_written_is_a_failure(call, finished, exporting, tmp_path):
    exporting.unwritten = {"model.onnx": "model.onnx can't be written: no rule for bucketize"}
    code, out, err = call("export", finished.path, "-o", tmp_path / "bundle")
    assert code == 1
    assert "model.pt2" in out
    assert "missing: model.onnx can't be written: no rule for bucketize" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ["--min-accuracy", "1.0"],
            3,
            "no model on the front meets the demands; nearest is trial",
        ),
        (["--max-parameters", "1"], 3, "it misses parameters"),
        (["--trial", "99"], 2, "has no trial 99; it has trials 0 to"),
        (["--pick", "best"], 2, "'best' is not one of"),
        (["--trial", "0", "--pick", "fast"], 2, "--trial names the model: leave out --pick"),
        (["--trial", "0", "--max-latency-ms", "1"], 2, "leave out --pick, --max"),
    ],
)
def test_what_cannot_be_exported_is_told(call, finished, exporting, arguments, code, told):
    left, _, err = call("export", finished.path, "-o", "nowhere", *arguments)
    assert left == code
    assert told in " ".join(err.replace("│", " ").split())
    assert exporting.calls == []


def test_a_run_without_models_has_nothing_to_export(call, exporting, tmp_path):
    empty = made_up_run(tmp_path / "empty", complete=0)
    code, _, err = call("export", empty.path, "-o", tmp_path / "bundle", "--min-accuracy", "0.1")
    assert code == 2
    assert "no finished, feasible trial to pick from" in err


def test_reproduce_tells_how_far_each_number_drifts(call, monkeypatch, tmp_path):
    numbers = [
        ("model", "accuracy", 0.97, 0.98, 0.01),
        ("model", "parameters", 500, 500, 0),
        ("model", "latency_ms", 2.0, None, None),
    ]
    keys = ("of", "metric", "bundle", "again", "drift")
    found = {
        "bundle": "b", "trial": 3, "same_baseline": True, "same_model": False,
        "differences": ["cpu: 'A' before, 'B' now"],
        "numbers": [dict(zip(keys, row, strict=True)) for row in numbers],
    }  # fmt: skip
    fake = types.ModuleType("autocompress.bundles")
    fake.reproduce = lambda bundle, tell: found if bundle == tmp_path else None
    monkeypatch.setitem(sys.modules, "autocompress.bundles", fake)
    code, out, err = call("reproduce", tmp_path)
    assert code == 0
    assert "cpu: 'A' before, 'B' now" in err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["baseline: the same weights, bit by bit", "model: other weights"]
    assert lines[3:] == [
        "model accuracy 0.97 0.98 +0.01 (+1.03%)",
        "model parameters 500 500 0",
        "model latency_ms 2 not measured again",
    ]
    assert json.loads(call("reproduce", tmp_path, "--json")[1]) == found


def test_init_writes_a_study_and_never_replaces_one(call, tmp_path):
    code, out, _ = call("init", tmp_path / "new")
    assert (code, out) == (0, f"{tmp_path / 'new' / 'study.toml'}\n")
    assert "[search]" in (tmp_path / "new" / "study.toml").read_text()
    code, _, err = call("init", tmp_path / "new")
    assert code == 2
    assert "exists" in err


def test_run_passes_options_and_shows_the_front(call, study, finished):
    def run(config, *, trials, timeout_s, workers, progress):
        assert (config, trials, timeout_s, workers) == (study.config, 3, 90, 2)
        progress(events.Message("on its way"))
        return finished

    study.run = run
    code, out, err = call("run", "study.toml", "--trials", 3, "--timeout", "90s", "--workers", 2)
    assert code == 0
    assert "baseline" in out
    assert err.startswith("on its way\n")
    code, out, err = call(
        "run", "study.toml", "--trials", 3, "--timeout", "90", "--workers", 2, "--json"
    )
    assert json.loads(out)["study"] == "made_up"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({"complete": 0, "failed": 0, "pruned": 2}, 3),
        ({"complete": 0, "failed": 2, "pruned": 0}, 1),
    ],
)
def test_the_exit_code_tells_why_there_is_no_front(call, study, tmp_path, states, code):
    made_up = made_up_run(tmp_path / "run", **states, finished=False)
    study.run = lambda config, **_: made_up
    assert call("run", "study.toml")[0] == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("model: no such model"), 2),
        (errors.RunError("runs/made_up exists"), 2),
        (errors.AutocompressError("the baseline diverged"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_errors_become_messages_and_exit_codes(call, study, error, code):
    def run(config, **_):
        raise error

    study.run = run
    assert call("run", "study.toml") == (code, "", f"autocompress: {error}\n")


def test_the_first_interrupt_ends_cleanly_and_tells_how_to_go_on(call, study):
    saved = []

    def run(config, **_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            saved.append("saved")

    study.run = run
    before = signal.getsignal(signal.SIGINT)
    code, out, err = call("run", "study.toml")
    assert (code, out, saved) == (130, "", ["saved"])
    assert err.rstrip().endswith("go on by: autocompress resume runs/made_up")
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_leaves_at_once():
    script = """
import os, signal
from autocompress.terminal.interrupts import stop_cleanly_first
with stop_cleanly_first():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        print("still here")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")


def test_reading_a_run_loads_neither_torch_nor_fastai(finished, tmp_path):
    where = str(finished.path)
    calls = [["--help"], ["status", where], ["front", where], ["show", where, "0"]]
    calls.append(["report", where])
    script = f"""
import sys
from autocompress import cli
for arguments in {calls!r}:
    sys.argv = ["autocompress", *arguments]
    try:
        cli.main()
    except SystemExit as left:
        assert not left.code, arguments
    assert not {{"torch", "fastai"}} & set(sys.modules), arguments
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
