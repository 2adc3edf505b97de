import io

import pytest

import autocompress
from autocompress import events
from autocompress.cli.progress import progress_on
from autocompress.metrics import Estimate
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.printing import Lines, progress_printer

from made_up_runs import ACCURACY, ENERGY

OBJECTIVES = (ACCURACY, LATENCY, PARAMETERS)
BASELINE = {
    "accuracy": Estimate(value=0.98),
    "latency_ms": Estimate(value=2.4),
    "parameters": Estimate(value=610_000),
    "energy_mj": Estimate(value=5.0),
}
METRICS = {
    "accuracy": Estimate(value=0.98),
    "latency_ms": Estimate(value=1.2),
    "parameters": Estimate(value=61_000),
    "energy_mj": Estimate(value=2.0),
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
    done=6,
    total=30,
    elapsed_s=50.0,
    eta_s=250.0,
)
DERIVED = events.TrialDone(
    number=6,
    state="complete",
    reason=None,
    metrics=METRICS,
    done=6,
    total=30,
    elapsed_s=50.0,
    eta_s=250.0,
    parent=4,
)
ALL = (
    events.Started("quickstart", "runs/quickstart", 30, 0, OBJECTIVES),
    events.Message("training the baseline"),
    events.EpochDone("baseline", 1, 2, 0.5),
    events.BaselineReady(BASELINE),
    TRIAL,
    FAILED,
    DERIVED,
    events.FinalEvaluation(1, 3),
    events.Finished("runs/quickstart", {"front": [1, 2]}),
)
NUMBERS = "accuracy 98.00 %, latency 1.20 ms (0.50x), parameters 61.0 k (0.10x)"
LINES = [
    "quickstart: 30 trials, into runs/quickstart",
    "training the baseline",
    "baseline: accuracy 98.00 %, latency 2.40 ms, parameters 610 k",
    f"[5/30] trial 4 complete: {NUMBERS}  (ETA 4 min 10 s; "
    "balanced so far accuracy 98.00 %, latency 0.50x, parameters 0.10x)",
    "[6/30] trial 5 failed: prune: [red]outputs differ  (ETA 4 min 10 s)",
    f"[6/30] trial 6 derived from 4: {NUMBERS}  (ETA 4 min 10 s)",
    "final evaluation: 1 of 3",
    "done: 2 on the front, in runs/quickstart",
]


def test_elsewhere_than_in_a_terminal_each_trial_is_one_plain_line():
    stream = io.StringIO()
    with progress_on(stream) as progress:
        for event in ALL:
            progress(event)
    assert stream.getvalue().splitlines() == LINES


def test_a_terminal_shows_the_same_lines_and_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    stream = io.StringIO()
    stream.isatty = lambda: True
    with progress_on(stream) as progress:
        for event in ALL:
            progress(event)
    shown = stream.getvalue()
    for line in LINES:
        assert line in shown
    assert "6/30" in shown


def test_a_script_or_notebook_prints_progress(capsys):
    progress = autocompress.progress_printer()
    for event in ALL:
        progress(event)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == LINES


def test_a_printer_writes_where_it_is_asked_to():
    stream = io.StringIO()
    progress_printer(stream)(events.Message("on its way"))
    assert stream.getvalue() == "on its way\n"


def test_lines_hold_the_objectives_of_the_run():
    lines = Lines()
    lines.line(events.Started("s", "runs/s", None, 0, (ACCURACY, ENERGY)))
    lines.line(events.BaselineReady(BASELINE))
    assert "accuracy 98.00 %, energy 2.00 mJ (0.40x)  (ETA" in lines.line(TRIAL)


@pytest.mark.parametrize("done", [3, 30])
def test_a_resumed_run_says_what_it_has(done):
    started = events.Started("quickstart", "runs/quickstart", 30, done)
    assert Lines().line(started) == f"quickstart: {done} of 30 trials done, in runs/quickstart"


def test_a_run_that_is_limited_by_time_says_so():
    started = events.Started("quickstart", "runs/quickstart", None, 0)
    assert Lines().line(started) == "quickstart: as many trials as fit, into runs/quickstart"
