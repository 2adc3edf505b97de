import json
import shutil

import pytest

from autocompress.errors import RunError, UsageError
from autocompress.events import ignore
from autocompress.runs import Run, layout
from autocompress.runs.store import intact
from autocompress.study.remeasure import FILE, remeasure

from made_up_runs import made_up_run


def files(run):
    return {
        path: path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and path.name != FILE
    }


def test_the_front_is_measured_and_only_one_file_is_written(copied):
    run = Run.open(copied)
    before, events = files(run), []
    found = remeasure(run, [], events.append)
    front = run.front()
    assert [row.trial for row in found.trials] == [trial.number for trial in front]
    assert found.baseline.trial is None
    for row, trial in zip(found.trials, front, strict=True):
        assert row.stored == trial.metrics["latency_ms"]
        assert row.ratio.low <= row.ratio.value <= row.ratio.high
        assert row.p10_ms <= row.p50_ms <= row.p90_ms
        assert row.latency_ms.value == pytest.approx(
            row.ratio.value * found.baseline.latency_ms.value
        )
    assert found.differences == []
    document = json.loads((run.path / FILE).read_text())
    assert [row["trial"] for row in document["trials"]] == [trial.number for trial in front]
    assert document["fingerprint"] == found.fingerprint
    assert files(run) == before
    assert len(events) == 1 + len(front)


def test_trials_are_measured_as_named_and_other_hardware_is_reported(copied):
    header = json.loads((copied / layout.HEADER).read_text())
    key = next(iter(header["fingerprint"]))
    header["fingerprint"][key] = "another"
    (copied / layout.HEADER).write_text(json.dumps(header))
    found = remeasure(Run.open(copied), [1, 1], ignore)
    assert [row.trial for row in found.trials] == [1]
    (difference,) = found.differences
    assert difference.startswith(f"{key}: 'another' before, ")


def test_a_folder_that_was_changed_is_refused(copied):
    run = Run.open(copied)
    trial = run.front()[0]
    (trial.folder / ".DS_Store").write_text("left by a file manager")
    assert intact(trial.folder, trial.sha256, "it") == trial.folder
    with (trial.folder / layout.WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(RunError, match=rf"{trial.folder} is damaged: .* sha256 differs"):
        remeasure(run, [trial.number], ignore)
    shutil.rmtree(trial.folder)
    with pytest.raises(RunError, match=f"{trial.folder} is missing"):
        remeasure(run, [trial.number], ignore)


def test_trials_without_a_model_are_refused_before_anything_is_measured(tmp_path):
    made_up = made_up_run(tmp_path / "made_up", complete=2, failed=1, pruned=0)
    failed = next(t.number for t in made_up.trials() if t.state == "failed")
    with pytest.raises(
        RunError, match=rf"only complete trials have models, not {failed} \(failed"
    ):
        remeasure(made_up, [failed], ignore)
    with pytest.raises(UsageError, match="has no trial 99"):
        remeasure(made_up, [99], ignore)


def test_a_run_with_nothing_to_measure_is_refused(tmp_path):
    empty = made_up_run(tmp_path / "empty", complete=0, failed=0, pruned=0)
    with pytest.raises(RunError, match="no measured baseline yet"):
        remeasure(Run.open(empty.path), [], ignore)
    without = made_up_run(tmp_path / "without", complete=0, failed=1, pruned=0)
    with pytest.raises(UsageError, match="no finished, feasible trial"):
        remeasure(without, [], ignore)
