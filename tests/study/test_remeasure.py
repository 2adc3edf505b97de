import json
import shutil

import pytest

from autocompress.config import load_study
from autocompress.errors import RunError, UsageError
from autocompress.study.benching import bench
from autocompress.study.last_word import intact_folder
from autocompress.study.records import RUN_FILE, Run
from autocompress.study.running import run

from made_up_runs import made_up_run

STUDY = """
[study]
name = "benched"
trials = 2

[data]
source = "digits"
image_size = 8
batch_size = 50
train_limit = 100
valid_limit = 50
test_limit = 50

[model]
factory = "autocompress:vgg_small"
kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }
epochs = 1

[training]
epochs = 1

[latency]
device = "cpu"
budget_s = 0.1

[search]
sparsity = [0.25, 0.5]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benched")
    (folder / "study.toml").write_text(STUDY)
    return run(load_study(folder / "study.toml"), directory=folder)


def files(run):
    return {
        path: path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and path.name != "bench.json" and "study.db" not in path.name
    }


def test_the_front_is_measured_and_only_one_file_is_written(finished):
    before, told = files(finished), []
    found = bench(finished, [], told.append)
    front = finished.front()
    assert [row["trial"] for row in found["trials"]] == [trial.number for trial in front]
    for row, trial in zip(found["trials"], front, strict=True):
        assert row["stored"]["latency_ratio"] == trial.metrics["final_latency_ratio"]
        assert row["latency_ratio_low"] <= row["latency_ratio"] <= row["latency_ratio_high"]
        assert row["latency_ms"] == pytest.approx(
            row["latency_ratio"] * found["baseline"]["latency_ms"]
        )
    assert found["differences"] == []
    assert json.loads((finished.path / "bench.json").read_text()) == found
    assert files(finished) == before
    assert len(told) == 1 + len(front)


def test_trials_are_measured_as_named_and_other_hardware_is_told(finished):
    header = json.loads((finished.path / RUN_FILE).read_text())
    elsewhere = Run(
        finished.path,
        finished.config,
        {**header, "fingerprint": {**header["fingerprint"], "cpu": "Another"}},
    )
    complete = next(t.number for t in finished.trials() if t.state == "complete")
    found = bench(elsewhere, [complete, complete], lambda event: None)
    assert [row["trial"] for row in found["trials"]] == [complete]
    (difference,) = found["differences"]
    assert difference.startswith("cpu: 'Another' before, ")


def test_a_folder_that_was_changed_is_told(finished, tmp_path):
    copied = Run.open(shutil.copytree(finished.path, tmp_path / "benched"))
    trial = copied.front()[0]
    (trial.folder / ".DS_Store").write_text("left by a file manager")
    assert intact_folder(trial) == trial.folder
    with (trial.folder / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(RunError, match=rf"{trial.folder} is damaged: .* sha256 differs"):
        bench(copied, [trial.number], lambda event: None)


def test_trials_without_a_model_are_refused_before_anything_is_measured(tmp_path):
    made_up = made_up_run(tmp_path / "made_up", complete=2, failed=1, pruned=0)
    failed = next(t.number for t in made_up.trials() if t.state == "failed")
    with pytest.raises(
        RunError, match=rf"only complete trials have models, not {failed} \(failed"
    ):
        bench(made_up, [failed], lambda event: None)
    with pytest.raises(UsageError, match="has no trial 99"):
        bench(made_up, [99], lambda event: None)


def test_a_run_with_nothing_to_measure_is_refused(tmp_path):
    empty = made_up_run(tmp_path / "empty", complete=0, failed=0, pruned=0)
    with pytest.raises(RunError, match="no measured baseline yet"):
        bench(empty, [], lambda event: None)
    without = made_up_run(tmp_path / "without", complete=0, failed=1, pruned=0)
    with pytest.raises(UsageError, match="no finished, feasible trial"):
        bench(without, [], lambda event: None)
