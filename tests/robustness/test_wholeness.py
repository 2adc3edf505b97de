"""What a run wrote is known to be whole: nothing lost, foreign or changed is overwritten."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import autocompress as ac
from autocompress.errors import RunError
from autocompress.events import ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.runs import Run
from autocompress.runs.journal import Journal, Trained
from autocompress.runs.wholeness import refuse_damages
from autocompress.study.budget import Amount
from autocompress.study.remeasure import remeasure
from autocompress.study.run import resume_run, run_study

from made_up_runs import made_up_run
from small_studies import own_trials, study_in

OLD = Path(__file__).parents[1] / "runs" / "release_0_1"


def models_of(run):
    return {path: path.read_bytes() for path in (run / "trials").rglob("*") if path.is_file()}


def lose_journal(run):
    (run / "trials.jsonl").unlink()


def cut_journal(run):
    path = run / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    keep = next(i for i, line in enumerate(lines) if b'"number": 2' in line)
    path.write_bytes(b"".join(lines[:keep]))


def lose_trial(run):
    shutil.rmtree(run / "trials" / "00001")


def change_trial(run):
    path = run / "trials" / "00001" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")


def lose_baseline(run):
    (run / "baseline" / "weights.safetensors").unlink()


def spoil_baseline(run):
    path = run / "baseline" / "weights.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    path.unlink()
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    save_file({**weights, name: torch.full_like(weights[name], float("nan"))}, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_journal, "trials/00000 is there, but trials.jsonl knows no such trial"),
        (cut_journal, "trials/00002 is there, but trials.jsonl knows no such trial"),
        (lose_trial, "trials/00001 is missing, the model of trial 1"),
        (change_trial, "trials/00001 was changed after trial 1 ended"),
        (lose_baseline, "baseline/weights.safetensors is missing"),
        (spoil_baseline, "baseline/weights.safetensors was changed"),
    ],
)
def test_damage_is_told_by_status_and_refused_by_resume(copied, damage, message):
    damage(copied)
    long_after = datetime.now(UTC).timestamp() + 60
    for path in copied.rglob("*"):
        os.utime(path, (long_after, long_after))
    before = models_of(copied)
    told = Run.open(copied).status().damages
    assert any(message in text for text in told), told
    with pytest.raises(RunError, match=f"is damaged: .*{message}"):
        resume_run(copied, amount=Amount(trials=6), executor=InlineExecutor())
    assert models_of(copied) == before


@pytest.mark.parametrize("damage", [lose_baseline, spoil_baseline])
def test_a_damaged_baseline_is_neither_exported_nor_measured_beside(copied, damage):
    damage(copied)
    long_after = datetime.now(UTC).timestamp() + 60
    for path in (copied / "baseline").iterdir():
        os.utime(path, (long_after, long_after))
    with pytest.raises(RunError, match="is damaged: baseline/weights"):
        ac.export_trial(Run.open(copied), 0, copied / "bundle")
    with pytest.raises(RunError, match="is damaged: baseline/weights"):
        remeasure(Run.open(copied), [0], ignore)


@pytest.mark.parametrize("name", ["a?b", "e%20f", "x#y", "qu'o\"te"])
def test_a_run_of_release_0_1_is_read_wherever_it_lies(tmp_path, name):
    home = tmp_path / name
    home.mkdir()
    moved = shutil.copytree(OLD, home / "old")
    names = sorted(path.name for path in moved.iterdir())
    found, expected = Run.open(moved).trials(), Run.open(OLD).trials()
    assert [trial.number for trial in found] == [trial.number for trial in expected] != []
    assert [path.name for path in home.iterdir()] == ["old"]
    assert sorted(path.name for path in moved.iterdir()) == names


def test_a_whole_run_has_no_damages(finished, copied):
    assert finished.damages() == ()
    for path in copied.rglob("*"):
        path.touch()  # as copying does
    assert Run.open(copied).damages() == ()
    assert Run.open(copied).status().to_dict()["damages"] == []


def test_a_made_up_run_that_lost_everything_names_a_few(tmp_path):
    run = made_up_run(tmp_path / "run", complete=12)
    Journal(run.path / "trials.jsonl").append(
        Trained(role="teacher", time="2026-01-01T00:00:00+00:00", sha256="0")
    )
    shutil.rmtree(run.path / "trials", ignore_errors=True)
    with pytest.raises(RunError, match=r"teacher/weights.safetensors is missing"):
        refuse_damages(run.path, Run.open(run.path).damages())


@pytest.mark.parametrize("name", ["a?b", "e%20f", "x#y", "two words", "qu'o\"te", "new\nline"])
def test_a_run_is_read_and_gone_on_with_wherever_it_lies(finished, tmp_path, name):
    home = tmp_path / name
    home.mkdir()
    moved = shutil.copytree(finished.path, home / "another name")
    before = models_of(moved)
    assert [t.number for t in Run.open(moved).front()] == [t.number for t in finished.front()]
    Run.open(moved).table()
    wanted = len(own_trials(finished))
    again = resume_run(moved, amount=Amount(trials=wanted), executor=InlineExecutor())
    assert models_of(moved) == before
    assert again.name == finished.name
    assert sorted(path.name for path in home.iterdir()) == ["another name"]


def test_a_study_that_is_renamed_goes_on_and_overwrites_nothing(copied):
    study = copied / "study.toml"
    study.write_text(study.read_text().replace('name = "micro"', 'name = "other"'))
    before = models_of(copied)
    wanted = len(own_trials(Run.open(copied))) + 1
    again = resume_run(copied, amount=Amount(trials=wanted), executor=InlineExecutor())
    assert len(own_trials(again)) == wanted
    assert before.items() <= models_of(copied).items()


def test_what_needs_no_new_baseline_may_be_corrected_before_the_first_trial(tmp_path):
    config = study_in(tmp_path, "study.trials=1", "model.epochs=1", "training.epochs=0")
    none = Amount(trials=0)
    run = run_study(config, directory=tmp_path, amount=none, executor=InlineExecutor())
    trained = (run.path / "baseline" / "weights.safetensors").stat().st_mtime_ns
    study = run.path / "study.toml"
    text = study.read_text().replace("budget_s = 0.05", "budget_s = 0.06")
    teacher = '\n[teacher]\nfactory = "autocompress:vgg_small"\nepochs = 0\n'
    study.write_text(text + teacher)
    again = resume_run(run.path, amount=Amount(trials=1), executor=InlineExecutor())
    assert len(own_trials(again)) == 1
    assert (run.path / "baseline" / "weights.safetensors").stat().st_mtime_ns == trained
    assert (run.path / "teacher" / "weights.safetensors").exists()
    study.write_text(study.read_text().replace("budget_s = 0.06", "budget_s = 0.07"))
    with pytest.raises(RunError, match="target changed since this run began"):
        resume_run(run.path, amount=Amount(trials=2), executor=InlineExecutor())


def test_of_two_runs_of_one_name_one_is_refused_in_words(tmp_path, monkeypatch):
    config = study_in(tmp_path, "model.epochs=0", "training.epochs=0")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"cannot be made .*put runs elsewhere \(--runs DIR"):
        run_study(config, directory=tmp_path / "file", executor=InlineExecutor())
