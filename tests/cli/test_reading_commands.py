import json
import random

import pytest

from autocompress import errors
from autocompress.cli.views import bench_rows
from autocompress.dashboard.document import overview
from autocompress.metrics import Estimate
from autocompress.metrics.formatting import format_interval
from autocompress.results import TrialResult
from autocompress.runs import Run
from autocompress.runs.journal import Ended, Proposed, Session
from autocompress.runs.lock import only_writer
from autocompress.study.remeasure import Remeasured, Remeasurement

from made_up_runs import BASELINE, BEGAN, FOUR, REASON, add_trial, journal, made_up_run, share


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "made_up", complete=8)


@pytest.fixture(scope="module")
def energetic(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "energetic"
    return made_up_run(home, complete=24, objectives=FOUR)


def test_front_shows_baseline_and_members(call, finished):
    code, out, err = call("front", finished.path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "made_up: the Pareto front"
    assert "test" in lines[1]
    assert lines[2].startswith("baseline")
    assert "98.20 %" in lines[2]
    assert len(lines) == 3 + len(finished.front())


def test_front_marks_the_picks(call, finished):
    lines = call("front", finished.path)[1].splitlines()
    for how, trial in finished.picks().items():
        (line,) = (line for line in lines if line.startswith(f"{trial.number} "))
        assert how in line


def test_front_as_json_is_the_document_and_nothing_else(call, finished):
    code, out, err = call("front", finished.path, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {"study", "objectives", "baseline", "front", "trials"} <= set(found)
    assert [member["trial"] for member in found["front"]] == [t.number for t in finished.front()]
    assert found["baseline"]["latency_ms"] == BASELINE["latency_ms"].value


def test_front_within_a_budget(call, finished):
    least = finished.front()[-1].metrics["accuracy"].value
    for option in (("--min-accuracy", least), ("--min", f"accuracy={least}")):
        code, out, _ = call("front", finished.path, *option, "--json")
        assert code == 0
        assert all(member["accuracy"] >= least for member in json.loads(out)["front"])
    for option in (("--max-parameters", 1), ("--max", "parameters=1")):
        code, out, err = call("front", finished.path, *option)
        assert code == 3
        assert "baseline" in out
        assert "nearest is trial" in err


def test_any_metric_bounds_the_front(call, energetic):
    energies = sorted(trial.metrics["energy_mj"].value for trial in energetic.front())
    most = energies[len(energies) // 2]
    shown = call("front", energetic.path, "--max", f"energy_mj={most}", "--json")[1]
    front = json.loads(shown)["front"]
    assert front
    assert len(front) == sum(value <= most for value in energies)
    both = ("--max", f"energy_mj={most}", "--max", "energy_mj=99", "--max", "macs=1e9")
    assert json.loads(call("front", energetic.path, *both, "--json")[1])["front"] == front
    assert "mJ" in call("front", energetic.path)[1]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--max", "energie_mj=2"),
            "no such metric (did you mean 'energy_mj'?); it has",
        ),
        (("--max", "accuracy=0.9"), "accuracy is maximized: use --min accuracy="),
        (("--min", "energy_mj=1"), "energy_mj is minimized: use --max energy_mj="),
        (("--max", "energy_mj"), "--max energy_mj: expected METRIC=VALUE"),
        (("--max", "energy_mj=little"), "--max energy_mj=little: expected a number"),
    ],
)
def test_a_bound_that_does_not_fit_is_a_clear_error(call, energetic, option, message):
    code, out, err = call("front", energetic.path, *option)
    assert (code, out) == (2, "")
    assert message in err


def test_the_latency_of_the_final_evaluation_is_the_one_that_counts(call, finished):
    member, latency = finished.front()[0], finished.metrics["latency_ms"]
    searched, last = member.searched["latency_ms"], member.metrics["latency_ms"]
    assert last.value == pytest.approx(1.01 * searched.value)
    ratio = format_interval(latency, last, finished.baseline["latency_ms"])
    assert ratio.split(" (")[0] in call("front", finished.path)[1]
    found = json.loads(call("front", finished.path, "--json")[1])["front"]
    assert found == sorted(found, key=lambda other: other["latency_ms"])
    assert found[0]["latency_ms"] == last.value
    assert found[0]["latency_ratio_low"] < found[0]["latency_ratio"]
    assert found[0]["latency_ratio"] < found[0]["latency_ratio_high"]
    most = (searched.value + last.value) / 2
    assert call("front", finished.path, "--max-latency-ms", most)[0] == 3
    with pytest.raises(errors.UsageError, match="within the budget"):
        finished.pick("fast", {"latency_ms": most})
    assert "latency, in the search" in call("show", finished.path, member.number)[1]


@pytest.fixture
def broken(tmp_path):
    """A run of two trials that break its limit, by 0.15 and by 0.02."""
    run = made_up_run(tmp_path / "run", complete=0, failed=0, pruned=0, running=1, finished=False)
    events, now = journal(run.path), BEGAN.isoformat()
    for number, drop in enumerate((0.2, 0.07), start=1):
        metrics = {
            "accuracy": share(0.982 - drop),
            "latency_ms": Estimate(value=1.0),
            "parameters": Estimate(value=10),
        }
        events.append(Proposed(number=number, time=now, params={}, recipe={}))
        result = TrialResult(state="complete", recipe={}, metrics=metrics)
        events.append(Ended(number=number, time=now, result=result))
    return Run.open(run.path)


def test_what_keeps_all_trials_off_the_front_is_named(call, broken, tmp_path):
    export = ("export", broken.path, "-o", tmp_path / "bundle")
    for command in (("front", broken.path), export):
        code, _, err = call(*command)
        assert code == 3
        assert "limit accuracy_drop: broken by 2 of 2 trials, alone by 2" in err
        assert "nearest is trial 2: it breaks accuracy_drop by 0.02" in err
    assert not (tmp_path / "bundle").exists()
    loosened = (broken.path / "study.toml").read_text().replace("drop = 0.05", "drop = 0.1")
    (broken.path / "study.toml").write_text(loosened)
    found = json.loads(call("front", broken.path, "--json")[1])
    assert [member["trial"] for member in found["front"]] == [2]


def test_status_shows_states_and_reasons(call, finished):
    code, out, _ = call("status", finished.path)
    assert code == 0
    assert "8 complete, 3 pruned, 2 failed, of 30 wanted" in out
    assert REASON in out
    assert json.loads(call("status", finished.path, "--json")[1])["trials"]["failed"] == 2


@pytest.mark.parametrize(
    ("wanted", "words", "progress"),
    [(60, "of 60 wanted", "13 of 60 trials"), (None, "of as many as fit the time", "13 trials")],
)
def test_status_shows_how_many_trials_were_asked_for(call, tmp_path, wanted, words, progress):
    run = made_up_run(tmp_path / "longer", complete=8, finished=False)
    journal(run.path).append(Session(time=BEGAN.isoformat(), trials=wanted))
    with only_writer(run.path):
        out = call("status", run.path)[1]
        assert words in out
        assert ("ETA" in out) is (wanted is not None)
        assert overview(run).state.text.startswith(f"running, {progress}")
    assert json.loads(call("status", run.path, "--json")[1])["trials"]["wanted"] == wanted
    assert overview(run).state.text == f"interrupted, {progress}; resume goes on"
    assert "interrupted; `autocompress resume` goes on" in call("status", run.path)[1]
    assert "ETA" not in call("status", run.path)[1]


def test_front_says_which_number_should_be_read_with_care(call, tmp_path):
    run = made_up_run(tmp_path / "loud", complete=8)
    number = run.front()[0].number
    path = run.path / "final.json"
    final = json.loads(path.read_text())
    flag = "other processes took 31 % of the time"
    final["trials"][str(number)]["metrics"]["latency_ms"]["flag"] = flag
    path.write_text(json.dumps(final))
    code, _, err = call("front", run.path)
    assert code == 0
    assert err == f"read the latency of trial {number} with care: {flag}\n"
    assert json.loads(call("front", run.path, "--json")[1])["front"][0]["latency_ms_flag"] == flag


def test_show_names_the_trial_whose_training_it_shares(call, tmp_path):
    run = made_up_run(tmp_path / "shared", complete=4, derived=1)
    number, parent = next((t.number, t.parent) for t in run.trials() if t.parent is not None)
    words = f"trial {number}: complete, derived from the training of {parent}"
    assert words in call("show", run.path, number)[1]


def test_show_has_recipe_layers_curve_and_latency(call, energetic):
    number = energetic.front()[0].number
    code, out, _ = call("show", energetic.path, number)
    assert code == 0
    for text in ("sparsification.criterion", "features.0", "recover", "p50 ", "accuracy, valid"):
        assert text in out
    assert "energy " in out
    assert "time per layer" in out
    assert "layers with weights: " in out
    found = json.loads(call("show", energetic.path, number, "--json")[1])
    assert found["layers"][0]["name"] == "features.0"
    assert found["curve"][0]["stage"] == "train"
    value = energetic.trial(number).metrics["energy_mj"].value
    assert found["metrics"]["energy_mj"]["value"] == value


def test_show_of_a_run_without_profiles_leaves_the_time_per_layer_out(call, tmp_path):
    run = made_up_run(tmp_path / "older", complete=1, failed=0, pruned=0)
    (run.path / "trials" / "00000" / "profile.json").unlink()
    code, out, _ = call("show", run.path, 0)
    assert code == 0
    assert "features.0" in out
    assert "time per layer" not in out


def test_show_of_a_failed_trial_has_its_reason(call, finished):
    failed = next(trial for trial in finished.trials() if trial.state == "failed")
    code, out, _ = call("show", finished.path, failed.number)
    assert code == 0
    assert out.startswith(f"trial {failed.number}: failed in prune\nreason: {REASON}")


def test_an_unknown_trial_is_an_error(call, finished):
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


def test_bench_rows_hold_stored_and_new_ratios():
    def measured(trial, stored, ratio):
        latency = Estimate(value=2 * ratio, flag="noisy")
        return Remeasured(
            trial=trial,
            stored=stored,
            latency_ms=latency,
            ratio=Estimate(value=ratio, low=ratio - 0.02, high=ratio + 0.02),
            p10_ms=1.0,
            p50_ms=1.0,
            p90_ms=1.0,
            n=100,
            contention=0.2,
            statistic="median",
        )

    found = Remeasurement(
        study="made_up",
        created=BEGAN.isoformat(),
        fingerprint={},
        differences=[],
        baseline=measured(None, Estimate(value=2.0), 1.0),
        trials=[measured(3, Estimate(value=1.2, low=1.16, high=1.24), 0.5)],
    )
    assert bench_rows(found) == [
        {
            "trial": "3",
            "of baseline, stored (95 %)": "0.60x (0.58 to 0.62)",
            "now (95 %)": "0.50x (0.48 to 0.52)",
            "latency": "1.00 ms",
            "contention": "20 %",
            "flag": "noisy",
        }
    ]


def test_a_run_that_grows_is_read_again(call, tmp_path):
    run = made_up_run(tmp_path / "grows", complete=2, failed=0, pruned=0, finished=False)
    assert "2 complete" in call("status", run.path)[1]
    add_trial(run.path, 2, "complete", random.Random(9))
    assert "3 complete" in call("status", run.path)[1]
