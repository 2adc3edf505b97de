import io

import pytest

from autocompress import events
from autocompress.terminal.progress import line_of, progress_on

METRICS = {
    "accuracy": 0.98,
    "latency_ms": 1.2,
    "latency_ratio": 0.5,
    "parameters": 61_000,
    "parameter_ratio": 0.1,
}
TRIAL = events.TrialDone(
    number=4,
    state="complete",
    reason=None,
    metrics=METRICS,
    best=METRICS,
    done=5,
    total=30,
    elapsed_s=50.0,
    eta_s=250.0,
)
FAILED = events.TrialDone(
    number=5,
    state="failed",
    reason="prune: [red]outputs differ",
    metrics={},
    best={},
    done=6,
    total=30,
    elapsed_s=50.0,
    eta_s=250.0,
)
ALL = (
    events.Started("quickstart", "runs/quickstart", 30, 0),
    events.Message("training the baseline"),
    events.EpochDone("baseline", 1, 2, 0.5),
    events.BaselineReady({**METRICS, "latency_ratio": 1.0, "parameter_ratio": 1.0}),
    TRIAL,
    FAILED,
    events.LastWord(1, 3),
    events.Finished("runs/quickstart", {"front": [1, 2]}),
)


def test_elsewhere_than_in_a_terminal_each_trial_is_one_plain_line():
    stream = io.StringIO()
    with progress_on(stream) as listen:
        for event in ALL:
            listen(event)
    assert stream.getvalue().splitlines() == [
        "quickstart: 30 trials, into runs/quickstart",
        "training the baseline",
        "baseline: accuracy 98.00 %, latency 1.20 ms, parameters 61.0 k",
        "[5/30] trial 4 complete: accuracy 98.00 %, latency 1.20 ms (0.50x), "
        "parameters 61.0 k (0.10x)  (ETA 4 min 10 s; "
        "best so far 98.00 %, 0.50x latency, 0.10x parameters)",
        "[6/30] trial 5 failed: prune: [red]outputs differ  (ETA 4 min 10 s)",
        "last word: 1 of 3 measured again",
        "done: 2 on the front, in runs/quickstart",
    ]


def test_a_terminal_shows_the_same_lines_and_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    stream = io.StringIO()
    stream.isatty = lambda: True
    with progress_on(stream) as listen:
        for event in ALL:
            listen(event)
    shown = stream.getvalue()
    for line in filter(None, map(line_of, ALL)):
        assert line in shown
    assert "5/30" in shown


@pytest.mark.parametrize("done", [3, 30])
def test_a_resumed_run_says_what_it_has(done):
    started = events.Started("quickstart", "runs/quickstart", 30, done)
    assert line_of(started) == f"quickstart: {done} of 30 trials done, in runs/quickstart"
