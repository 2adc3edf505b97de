"""The last word on made-up runs: who is measured again, and what becomes of the front."""

from types import SimpleNamespace

import pytest

from autocompress.events import LastWord
from autocompress.study import last_word
from autocompress.study.last_word import speak_last_words

from made_up_runs import made_up_run

MOST_MS = 1.0


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a limit on latency, whose candidates are half as slow again as the search saw."""
    run = made_up_run(tmp_path / "run", complete=40, finished=False)
    path = run.path / "study.toml"
    path.write_text(path.read_text() + f"latency_ms = {MOST_MS}\n")

    def slower(record, config, bench):
        return {"test_accuracy": 0.9, "final_latency_ms": 1.5 * record.metrics["latency_ms"]}

    monkeypatch.setattr(last_word, "_word_on", slower)
    tested = SimpleNamespace(accuracy=0.98)
    monkeypatch.setattr(last_word, "evaluate", lambda model, images: tested)
    return run


def speak(run):
    heard = []
    bench = SimpleNamespace(baseline=None, batches=SimpleNamespace(test=None))
    speak_last_words(run, None, bench, heard.append)
    return sum(isinstance(event, LastWord) for event in heard)


def test_what_breaks_a_limit_when_measured_again_leaves_the_front(run):
    before = {trial.number: trial for trial in run.front()}
    assert speak(run) >= len(before)
    front = run.front()
    assert front == sorted(front, key=lambda trial: trial.metrics["latency_ms"])
    for trial in front:
        assert trial.metrics["latency_ms"] == 1.5 * trial.metrics["search_latency_ms"] <= MOST_MS
        assert trial.metrics["test_accuracy"] == 0.9
    left = [run.trial(number) for number in before.keys() - {trial.number for trial in front}]
    assert left
    for trial in left:
        assert not trial.feasible
        assert trial.violations["latency_ms"] == trial.metrics["latency_ms"] - MOST_MS > 0
    assert run.baseline["test_accuracy"] == 0.98


def test_only_those_are_measured_that_were_not_before(run):
    speak(run)
    assert speak(run) == 0
    path = run.path / "study.toml"
    known = {trial.number for trial in run.trials() if "test_accuracy" in trial.metrics}
    path.write_text(path.read_text().replace("accuracy_drop = 0.05", "accuracy_drop = 0.2"))
    fresh = {trial.number for trial in run.front()} - known
    assert speak(run) >= len(fresh) > 0
