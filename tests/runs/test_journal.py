import json

import pytest

from autocompress.errors import RunError
from autocompress.metrics import Estimate
from autocompress.results import EpochRecord, Failure, StageResult, TrialResult
from autocompress.runs.journal import Ended, Journal, Proposed, Session, now, read_events

RESULT = TrialResult(
    state="complete",
    recipe={"fold": True, "sparsification": {"sparsity": [0.1, 0.2, 0.3]}},
    metrics={
        "accuracy": Estimate(value=0.9, low=0.85, high=0.95, n=100),
        "flops": Estimate(value=1),
    },
    curve=(EpochRecord(stage="train", epoch=1, train_loss=1.0, valid_loss=2.0, score=0.5),),
    stages=(
        StageResult(
            stage="prune", seconds=0.1, score=None, parameters=3, steps=1, report=("one",)
        ),
    ),
    seconds={"train": 1.5},
    folder="00000",
    sha256="ab",
    threads=1,
)
FAILED = TrialResult(
    state="failed", recipe={}, failure=Failure(stage="train", reason="it broke", traceback="...")
)


@pytest.fixture
def events():
    return [
        Session(time=now(), trials=3, asked=True),
        Proposed(number=0, time=now(), params={"a": 0.5}, recipe=dict(RESULT.recipe), name="half"),
        Ended(number=0, time=now(), result=RESULT),
        Ended(number=1, time=now(), result=FAILED, parent=0, params={"a": 0.25}),
    ]


def written(path, events):
    journal = Journal(path)
    for event in events:
        journal.append(event)
    return path


def test_events_come_back_as_they_were_written(tmp_path, events):
    path = written(tmp_path / "trials.jsonl", events)
    assert list(read_events(path)) == events


def test_reading_goes_on_where_it_ended(tmp_path, events):
    path = written(tmp_path / "trials.jsonl", events[:2])
    before = path.stat().st_size
    written(path, events[2:])
    assert list(read_events(path, before)) == events[2:]
    assert list(read_events(path, path.stat().st_size)) == []
    assert list(read_events(tmp_path / "missing.jsonl")) == []


@pytest.mark.parametrize("lost", [1, 10, 100])
def test_a_kill_in_the_middle_of_a_line_loses_that_line_only(tmp_path, events, lost):
    path = written(tmp_path / "trials.jsonl", events)
    path.write_bytes(path.read_bytes()[:-lost])
    assert list(read_events(path)) == events[:3]
    written(path, events[3:])
    assert list(read_events(path)) == events


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"event": "other"}', '{"event": "ended", "number": 1}', "{}"]
)
def test_a_damaged_line_is_named(tmp_path, events, line):
    path = written(tmp_path / "trials.jsonl", events[:1])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RunError, match=r"trials\.jsonl:2: not an event"):
        list(read_events(path))


def test_what_json_cannot_hold_leaves_nothing_behind(tmp_path):
    path = tmp_path / "trials.jsonl"
    bad = TrialResult(state="complete", recipe={}, metrics={"x": Estimate(value=float("nan"))})
    with pytest.raises(ValueError, match="JSON"):
        Journal(path).append(Ended(number=0, time=now(), result=bad))
    assert list(read_events(path)) == []


def test_a_result_comes_back_with_what_was_derived_from_it():
    whole = TrialResult(state="complete", recipe={}, derived=(RESULT, FAILED), fraction=0.5)
    assert TrialResult.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 1}, "version 1"), ({"metrics": None}, "not the result"), ({"more": 1}, "more")],
)
def test_another_document_is_no_result(change, message):
    with pytest.raises(RunError, match=message):
        TrialResult.from_dict({**RESULT.to_dict(), **change})
