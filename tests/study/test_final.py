"""The final evaluation, on a target where all candidates turn out to be slower than before."""

from dataclasses import replace

import pytest
import torch

from autocompress.config import load_study
from autocompress.errors import AutocompressError
from autocompress.events import FinalEvaluation, TrialDone, ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.metrics import Metric
from autocompress.runs import Run
from autocompress.study.budget import Amount
from autocompress.study.run import begin, go_on

from small_studies import STUDY, MadeUpTarget, study_in

TIPPED = "the metric 'weight': RuntimeError: it tips"

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
    problem = replace(problem, config=load_study(path))
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


class Scales:
    """A metric of the user's: it counts its calls, and breaks when it is told to."""

    def __init__(self):
        self.calls, self.broken = 0, lambda parameters: None
        self.metric = Metric(name="weight", direction="minimize", measure=self.measure)

    def measure(self, candidate):
        self.calls += 1
        error = self.broken(sum(p.numel() for p in candidate.model.parameters()))
        if error is not None:
            raise error
        return float(self.calls)


@pytest.fixture
def weighed(small_problem, tmp_path):
    """A problem with scales, and a run of it that has a front of at least two, not evaluated."""
    scales = Scales()
    config = study_in(tmp_path, "study.trials=4")
    problem = replace(small_problem, config=config, own=(scales.metric,))

    def stop(event):
        if isinstance(event, TrialDone) and event.done == event.total:
            raise KeyboardInterrupt

    options = {"amount": Amount(), "recipes": None, "executor": InlineExecutor()}
    with pytest.raises(KeyboardInterrupt):
        begin(problem, directory=tmp_path, progress=stop, **options)
    run = Run.open(tmp_path / "micro")
    assert len(run.front()) > 1
    return problem, run, scales


def test_what_breaks_in_the_final_evaluation_is_told_and_the_others_go_on(weighed):
    problem, run, scales = weighed
    first, *others = run.front()
    size, events = first.searched["parameters"].value, []
    scales.broken = lambda parameters: RuntimeError("it tips") if parameters == size else None
    options = {"executor": InlineExecutor(), "progress": events.append}
    after = go_on(problem, run, amount=Amount(), **options)
    assert after.finished
    broken = after.trial(first.number)
    assert broken.final_failure.stage == "measure"
    assert broken.final_failure.reason == TIPPED
    assert "latency_ms" in after.final.trials[first.number].metrics  # measured before that
    assert "test_accuracy" not in broken.metrics
    for trial in others:
        found = after.trial(trial.number)
        assert found.final_failure is None
        assert "test_accuracy" in found.metrics
    (told,) = [event.text for event in events if "failed" in getattr(event, "text", "")]
    assert told == (f"final evaluation of trial {first.number} failed: measure: {TIPPED}")
    (reason,) = [r for r in after.status().reasons if r.state == "complete"]
    assert (reason.trial, reason.reason) == (
        first.number,
        TIPPED,
    )
    scales.broken = lambda parameters: None
    assert resumed(problem, after) == 1  # what failed is tried again
    assert "test_accuracy" in after.trial(first.number).metrics


def test_metrics_of_the_users_are_measured_again(weighed):
    problem, run, _ = weighed
    searched = {trial.number: trial.searched["weight"].value for trial in run.front()}
    assert resumed(problem, run) == len(searched)
    for number, value in searched.items():
        assert run.trial(number).metrics["weight"].value > value


def test_what_is_measured_is_kept_when_the_final_evaluation_is_interrupted(weighed):
    problem, run, _ = weighed
    count = len(run.front())

    def stop(event):
        if isinstance(event, FinalEvaluation):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(problem, run, amount=Amount(), executor=InlineExecutor(), progress=stop)
    assert not run.finished
    assert sum("test_accuracy" in trial.metrics for trial in run.front()) == 1
    assert resumed(problem, run) == count - 1
    assert run.finished


def test_what_breaks_the_gpu_is_noted_and_not_tried_before_the_others_are_done(weighed):
    problem, run, scales = weighed
    size = run.front()[0].searched["parameters"].value
    error = torch.AcceleratorError("CUDA error: an illegal memory access")
    scales.broken = lambda parameters: error if parameters == size else None
    with pytest.raises(AutocompressError, match="broke the GPU"):
        resumed(problem, run)
    assert not run.finished
    assert resumed(problem, run) == len(run.front()) - 1
    assert run.finished
    assert "illegal memory access" in run.front()[0].final_failure.reason


def test_a_run_that_goes_on_keeps_what_was_measured(weighed):
    problem, run, _ = weighed
    resumed(problem, run)
    known = dict(run.final.trials)

    def stop(event):
        assert not run.finished
        raise KeyboardInterrupt

    def at_first_trial(event):
        if isinstance(event, TrialDone):
            stop(event)

    options = {"executor": InlineExecutor(), "progress": at_first_trial}
    with pytest.raises(KeyboardInterrupt):
        go_on(problem, run, amount=Amount(trials=5), **options)
    assert run.final.trials == known


def test_a_baseline_that_cannot_be_tested_is_told(weighed):
    problem, run, _ = weighed

    class Broken(type(problem.data)):
        @property
        def test(self):
            raise OSError("the disk of test is gone")

    data = object.__new__(Broken)
    data.__dict__.update({k: v for k, v in problem.data.__dict__.items() if k != "test"})
    events = []
    options = {"executor": InlineExecutor(), "progress": events.append}
    after = go_on(replace(problem, data=data), run, amount=Amount(), **options)
    assert after.finished
    told = [event.text for event in events if "failed" in getattr(event, "text", "")]
    assert len(told) == 1 + len(after.front())
    assert told[0].startswith("final evaluation of the baseline failed: evaluate: OSError")
