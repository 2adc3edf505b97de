"""Runs that release 0.1 wrote, and what its own code said of them (the JSON files beside)."""

import json
import math
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from autocompress.errors import RunError
from autocompress.runs import Run
from autocompress.runs.stored import Structure

HERE = Path(__file__).parent
NAMES = ("release_0_1", "release_0_1_derived")
STAGES = {"sparsify": "train", "draft": "estimate", "factorize late": "factorize_late"}


@pytest.fixture(scope="module", params=NAMES)
def both(request, tmp_path_factory):
    """Return a run, and what release 0.1 says of it."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    shutil.copytree(HERE / request.param, folder)
    told = json.loads((HERE / f"{request.param}.json").read_text(encoding="utf-8"))
    return Run.open(folder), told


def today(stage):
    return STAGES.get(stage, stage)


def test_what_a_run_began_with_is_read(both):
    run, told = both
    assert run.name == told["status"]["study"]
    assert run.created == datetime.fromisoformat(told["created"])
    assert run.fingerprint == told["fingerprint"]
    assert run.structure == Structure.from_dict(told["units"])
    assert [metric.name for metric in run.objectives] == ["accuracy", "latency_ms", "parameters"]
    assert run.score.name == "accuracy"
    assert run.wanted == told["wanted"]
    assert run.finished == told["finished"]


def test_the_baseline_has_its_numbers_and_intervals(both):
    run, told = both
    expected = told["baseline"]
    names = ("accuracy", "latency_ms", "parameters", "nonzero", "macs", "size_bytes")
    for name in (*names, "test_accuracy"):
        assert run.baseline[name].value == expected[name]
    accuracy, latency = run.baseline["accuracy"], run.baseline["latency_ms"]
    assert accuracy.n == expected["valid_images"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert latency.n == told["n"]
    assert latency.low < latency.value < latency.high
    assert list(run.baseline_samples_ms) == told["samples_ms"]


def test_every_trial_is_what_release_0_1_says(both):
    run, told = both
    assert [trial.number for trial in run.trials()] == [t["number"] for t in told["trials"]]
    for trial, expected in zip(run.trials(), told["trials"], strict=True):
        for name in ("state", "reason", "params", "recipe", "feasible", "threads", "sha256"):
            assert getattr(trial, name) == expected[name], (trial.number, name)
        assert trial.in_short == expected["in_short"]
        assert trial.counts == expected["counts"]
        assert trial.parent == expected["harvested_from"]
        assert trial.stage == today(expected["stage"])
        assert trial.bound == expected["stopped"].get("bound")
        assert (trial.folder and trial.folder.name) == expected["folder"]
        assert trial.violations == pytest.approx(expected["violations"])
        assert trial.seconds == {today(s): t for s, t in expected["seconds"].items()}
        if trial.parent is None:
            assert trial.duration_s == expected["duration_s"]


def test_the_numbers_of_every_trial_are_what_release_0_1_says(both):
    run, told = both
    for trial, expected in zip(run.trials(), told["trials"], strict=True):
        metrics = expected["metrics"]
        for name, found in trial.metrics.items():
            assert found.value == metrics[name]
        searched = metrics.get("search_latency_ms", metrics.get("latency_ms"))
        if searched is not None:
            assert trial.searched["latency_ms"].value == searched
            latency, reference = trial.metrics["latency_ms"], run.baseline["latency_ms"].value
            if latency.low is not None:
                assert latency.low / reference == pytest.approx(metrics["latency_ratio_low"])
                assert latency.high / reference == pytest.approx(metrics["latency_ratio_high"])
            assert latency.flag == metrics.get("latency_flag")
        rows = metrics.get("stages", [])
        assert [row.stage for row in trial.final_stages] == [today(r["stage"]) for r in rows]
        assert [row.latency_ms for row in trial.final_stages] == [r["latency_ms"] for r in rows]
        assert [row.score for row in trial.final_stages] == [r["accuracy"] for r in rows]


def test_curves_and_stages_are_read_from_the_folders(both):
    run, _ = both
    for trial in run.trials():
        if trial.state == "complete" and trial.parent is None:
            assert {record.stage for record in trial.curve} <= {"train", "recover"}
            assert trial.curve[-1].score > 0
            assert trial.stages[0].stage == "train"
            assert trial.stages[-1].parameters == trial.metrics["parameters"].value


def test_front_picks_and_limits_are_what_release_0_1_says(both):
    run, told = both
    assert [trial.number for trial in run.front()] == told["front"]
    assert {how: trial.number for how, trial in run.picks().items()} == told["picks"]
    assert [trial.number for trial in run.front(told["budget"])] == told["front_in_budget"]
    fast = {"latency_ms": told["budget"]["latency_ms"]}
    for how, number in told["picks_in_budget"].items():
        assert run.pick(how, fast).number == number
    bounds = {name: next(iter(b.values())) for name, b in told["limits"].items()}
    assert run.limits.bounds(run.baseline) == pytest.approx(bounds)


def test_the_status_is_what_release_0_1_says(both):
    run, told = both
    found, expected = run.status().to_dict(), told["status"]
    assert found["trials"].pop("derived") == expected["trials"].pop("harvested")
    seconds = {today(stage): spent for stage, spent in expected["seconds_per_stage"].items()}
    assert found.pop("seconds_per_stage") == pytest.approx(seconds)
    del expected["seconds_per_stage"]
    assert found.pop("damages") == []
    for entry in expected["reasons"]:
        entry["stage"] = today(entry["stage"])
    assert found == expected


def test_importances_are_what_release_0_1_says(both):
    run, told = both
    found = [
        [objective, name, importance, None if math.isnan(correlation) else correlation]
        for objective, name, importance, correlation in run.importances().itertuples(index=False)
    ]
    assert [row[:2] for row in found] == [row[:2] for row in told["importances"]]
    for row, expected in zip(found, told["importances"], strict=True):
        assert row[2:] == [None if v is None else pytest.approx(v) for v in expected[2:]]


def test_the_table_has_a_row_per_trial(both):
    run, told = both
    table = run.table()
    assert list(table["trial"]) == [trial["number"] for trial in told["trials"]]
    for name in ("accuracy", "latency_ms", "parameters"):
        expected = [trial["metrics"].get(name, math.nan) for trial in told["trials"]]
        assert list(table[name]) == pytest.approx(expected, nan_ok=True)
    ratios = [trial["metrics"].get("latency_ratio", math.nan) for trial in told["trials"]]
    assert list(table["latency_ratio"]) == pytest.approx(ratios, nan_ok=True)


def test_reading_changes_nothing_in_the_folder(both):
    run, _ = both
    run.trials()
    before = HERE / run.path.name
    assert sorted(p.name for p in run.path.iterdir()) == sorted(p.name for p in before.iterdir())
    assert (run.path / "study.db").read_bytes() == (before / "study.db").read_bytes()


def test_reading_loads_no_torch(both):
    run, _ = both
    code = (
        "import sys\n"
        "from autocompress.runs import Run\n"
        f"Run.open({str(run.path)!r}).front_document()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_damaged_database_is_an_error_that_names_it(tmp_path):
    folder = shutil.copytree(HERE / "release_0_1", tmp_path / "release_0_1")
    (folder / "study.db").write_bytes(b"no database")
    with pytest.raises(RunError, match=r"study\.db is not a study's database"):
        Run.open(folder).trials()


def test_a_run_without_a_database_has_no_trials(tmp_path):
    folder = shutil.copytree(HERE / "release_0_1", tmp_path / "release_0_1")
    (folder / "study.db").unlink()
    run = Run.open(folder)
    assert run.trials() == []
    assert run.wanted == run.config["study"]["trials"]
