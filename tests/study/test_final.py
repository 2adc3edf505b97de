"""The final evaluation, on a target where all candidates turn out to be slower than before."""

from dataclasses import replace

import pytest

from autocompress.events import FinalEvaluation, ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.runs import Run
from autocompress.study.budget import Amount
from autocompress.study.run import begin, go_on

from small_studies import STUDY, MadeUpTarget, study_in

SLOWNESS = 1.5
MOST_MS = 4.5  # of the baseline's 4.7


class SlowingDown(InlineExecutor):
    """From its end on, everything that is measured is slower than the search saw it."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def close(self):
        super().close()
        self.target.slowness = SLOWNESS


@pytest.fixture(scope="module")
def slowed(small_problem, tmp_path_factory):
    folder, events, target = tmp_path_factory.mktemp("final"), [], MadeUpTarget()
    text = STUDY + f"\n[limits]\nlatency_ms = {MOST_MS}\n"
    config = study_in(folder, "study.trials=5", text=text)
    problem = replace(small_problem, config=config, target=target)
    run = begin(
        problem,
        directory=folder,
        amount=Amount(),
        recipes=None,
        executor=SlowingDown(target),
        progress=events.append,
    )
    return problem, run, events


def resumed(problem, run):
    events = []
    options = {"executor": InlineExecutor(), "progress": events.append}
    go_on(problem, run, amount=Amount(), **options)
    return sum(isinstance(event, FinalEvaluation) for event in events)


def test_what_breaks_a_limit_when_it_is_measured_again_leaves_the_front(slowed):
    _, run, events = slowed
    front = run.front()
    assert front
    assert front == sorted(front, key=lambda trial: trial.metrics["latency_ms"].value)
    for trial in front:
        found = trial.metrics["latency_ms"].value
        assert found == pytest.approx(SLOWNESS * trial.searched["latency_ms"].value)
        assert found <= MOST_MS
        assert "test_accuracy" in trial.metrics
    measured = [trial for trial in run.trials() if "test_accuracy" in trial.metrics]
    left = [trial for trial in measured if trial.number not in {t.number for t in front}]
    assert left
    for trial in left:
        assert not trial.feasible
        by = trial.metrics["latency_ms"].value - MOST_MS
        assert trial.violations["latency_ms"] == pytest.approx(by)
        assert by > 0
    assert sum(isinstance(event, FinalEvaluation) for event in events) == len(measured)
    assert "test_accuracy" in run.baseline


def test_only_those_are_measured_that_were_not_before(slowed):
    problem, run, _ = slowed
    assert resumed(problem, run) == 0
    path = run.path / "study.toml"
    text = path.read_text()
    known = {trial.number for trial in run.trials() if "test_accuracy" in trial.metrics}
    path.write_text(text.replace(f"latency_ms = {MOST_MS}", "accuracy = 0.0"))
    wider = {trial.number for trial in run.front()}
    assert resumed(problem, run) == len(wider - known)
    assert all("test_accuracy" in trial.metrics for trial in run.front())
    path.write_text(text)


def test_without_a_front_only_the_end_is_noted(small_problem, tmp_path):
    run = begin(
        replace(small_problem, config=study_in(tmp_path)),
        directory=tmp_path,
        amount=Amount(trials=0),
        recipes=None,
        executor=None,
        progress=ignore,
    )
    assert run.finished
    assert Run.open(run.path).front() == []
