"""What a trial, a sampler, a disk or a signal does: the run goes on, or says what to do."""

import errno
import math
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch

from autocompress.errors import DiskFullError, TrialError, failing_as
from autocompress.events import Message
from autocompress.execution import Job
from autocompress.execution.inline import InlineExecutor
from autocompress.execution.jobs import run_job
from autocompress.metrics import Estimate, Metric
from autocompress.recipe import Recipe
from autocompress.results import Failure, TrialResult
from autocompress.runs import Run, layout
from autocompress.runs.journal import Journal, Proposed, Session, now
from autocompress.space.space import Choices, Space
from autocompress.study.budget import FIRST_LIMIT_S, LEAST_LIMIT_S, LIMIT, trial_limit_s
from autocompress.study.signals import interrupted_by_signals
from autocompress.training.fitting import Monitor, Training

from made_up_executor import MadeUpExecutor, complete, proposer_of, search
from small_studies import study_in

UNTRAINED = Recipe(training=Training(epochs=0, recovery_epochs=0)).to_dict()


def few(context, values=(0.25, 0.5, 0.75)):
    """Return a space of few recipes."""
    return Space({"sparsity": Choices(values)}, context.problem.config.training)


def killed(context, times):
    """Note that a run began a trial, and was killed while it ran, so many times."""
    journal = Journal(context.folder / layout.JOURNAL)
    for _ in range(times):
        journal.append(Session(time=now()))
        recipe = few(context).recipe({"sparsity": 0.25}).to_dict()
        journal.append(Proposed(number=0, time=now(), params={"sparsity": 0.25}, recipe=recipe))


def test_a_trial_that_took_the_run_down_twice_has_failed(context):
    killed(context, 2)
    executor = MadeUpExecutor()
    run = search(context, executor, 3, proposer=proposer_of(context, few(context)))
    assert [trial.state for trial in run.trials()] == ["failed", "complete", "complete"]
    assert [job.number for job in executor.jobs] == [1, 2]
    assert run.trial(0).stage == "process"
    assert "the whole run was killed 2 times while it ran" in run.trial(0).reason
    assert run.trial(0).recipe not in [job.recipe for job in executor.jobs]


def test_a_trial_has_a_second_chance(context):
    killed(context, 1)
    executor = MadeUpExecutor()
    run = search(context, executor, 1, proposer=proposer_of(context, few(context)))
    assert [(trial.state, trial.lost) for trial in run.trials()] == [("complete", 1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_by_the_user_is_no_chance_lost(context, number):
    def end(job):
        os.kill(os.getpid(), number)
        time.sleep(60)

    handler = signal.getsignal(number)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
            search(context, MadeUpExecutor(end), 1)
    assert signal.getsignal(number) is handler
    run = search(context, MadeUpExecutor(), 1)
    assert [(trial.state, trial.lost) for trial in run.trials()] == [("complete", 0)]


def test_signals_that_somebody_handles_stay_theirs():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupted_by_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_are_left_alone_outside_the_main_thread():
    seen = []

    def enter():
        with interrupted_by_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_proposals_that_repeat_a_recipe_cost_no_trial(context, sampler):
    executor = MadeUpExecutor()
    made = proposer_of(context, few(context), sampler=sampler)
    run = search(context, executor, 3, proposer=made)
    assert [trial.state for trial in run.trials()] == ["complete"] * 3
    assert {trial.params["sparsity"] for trial in run.trials()} == {0.25, 0.5, 0.75}


def test_recipes_that_run_or_failed_are_not_proposed_again(context):
    def end(job):
        failure = Failure(stage="train", reason="it broke")
        return TrialResult(state="failed", recipe=job.recipe, failure=failure)

    executor = MadeUpExecutor(end, capacity=3)
    search(context, executor, 3, proposer=proposer_of(context, few(context)))
    assert len({job.recipe["sparsification"]["sparsity"] for job in executor.jobs}) == 3
    again = MadeUpExecutor()
    search(context, again, 8, proposer=proposer_of(context, few(context, (0.25, 0.5, 0.75, 0.9))))
    assert [job.recipe["sparsification"]["sparsity"] for job in again.jobs] == [0.9]


def test_where_nothing_new_is_proposed_the_search_ends_in_words(context):
    said = []
    made = proposer_of(context, few(context))
    run = search(context, MadeUpExecutor(), 8, proposer=made, progress=said.append)
    assert len(run.trials()) == 3
    (text,) = [event.text for event in said if isinstance(event, Message)]
    assert "every recipe of the space seems to have been tried" in text


def test_a_full_disk_ends_the_session_and_the_trial_waits(context):
    def end(job):
        if job.number == 1:
            failure = Failure(stage="save", reason="the disk is full: no space")
            return TrialResult(state="interrupted", recipe=job.recipe, failure=failure)
        return complete(job)

    with pytest.raises(DiskFullError, match="save: the disk is full"):
        search(context, MadeUpExecutor(end), 4)
    assert [t.state for t in Run.open(context.folder).trials()] == ["complete", "waiting"]
    executor = MadeUpExecutor()
    run = search(context, executor, 4)
    assert [job.number for job in executor.jobs] == [1, 2, 3]
    assert run.trial(1).lost == 0


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota")])
def test_a_trial_that_finds_the_disk_full_has_not_failed(context, error):
    def measure(candidate):
        raise error

    own = Metric(name="own", direction="minimize", measure=measure)
    full = replace(context, evaluator=replace(context.evaluator, own=(own,)))
    result = run_job(Job(number=0, recipe=UNTRAINED), full).result
    assert result.state == "interrupted"
    assert "the disk is full" in result.failure.reason


@pytest.mark.parametrize(
    "found", [Estimate(value=1.0, low=math.nan, high=2.0), Estimate(value=torch.tensor(1.0))]
)
def test_a_result_that_cannot_be_stored_fails_its_trial(context, found):
    own = Metric(name="own", direction="minimize", measure=lambda _: found)
    odd = replace(context, evaluator=replace(context.evaluator, own=(own,)))
    result = run_job(Job(number=0, recipe=UNTRAINED), odd).result
    assert (result.state, result.failure.stage) == ("failed", "save")
    assert result.failure.reason.startswith("its result cannot be stored: ")


class UnspeakableError(Exception):
    def __str__(self):
        raise ValueError("no words")


class LibraryError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(), "ValueError"),
        (AssertionError("  \n "), "AssertionError"),
        (SystemExit(3), "SystemExit: 3"),
        (UnspeakableError(), "UnspeakableError: its text cannot be made (ValueError)"),
        (RuntimeError("caf\udce9"), "RuntimeError: caf\\udce9"),
        (MemoryError(), "out of memory"),
        (LibraryError("I/O error: No space left on device (os error 28)"),
         "the disk is full: I/O error: No space left on device (os error 28)"),
        (TrialError("stage", " "), "TrialError, without a reason"),
    ],
    ids=["no text", "blank", "exit", "faulty text", "no characters", "memory", "disk", "ours"],
)  # fmt: skip
def test_no_reason_is_blank(error, reason):
    with pytest.raises(TrialError) as caught, failing_as("train"):
        raise error
    assert caught.value.reason == reason
    assert isinstance(caught.value, DiskFullError) is ("disk" in reason)


def test_no_failure_is_blank_whoever_made_it():
    assert Failure(stage="train", reason="").reason == "no reason was given"


class Hangs(Monitor):
    """A trial that hangs in its first batch, until somebody presses Ctrl-C."""

    def batch(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)


def test_ctrl_c_ends_a_trial_that_hangs_in_this_process(context):
    done = search(context, MadeUpExecutor(), 1).trial(0)
    executor = InlineExecutor()
    executor.start(context.folder, replace(context, monitor=Hangs()))
    with pytest.raises(KeyboardInterrupt):
        search(context, executor, 2)
    first, second = Run.open(context.folder).trials()
    assert (first, second.state) == (done, "waiting")


def test_a_trial_ends_at_a_batch_after_its_time(context):
    done = run_job(Job(number=0, recipe=Recipe().to_dict(), limit_s=1e-9), context)
    assert (done.result.state, done.result.failure.stage) == ("failed", "time limit")
    assert "study.trial_timeout sets another limit" in done.result.failure.reason


def test_the_time_of_a_trial_follows_from_those_that_are_complete():
    assert trial_limit_s(30.0, [1e6], 4) == 30.0
    assert trial_limit_s(None, [], 4) == FIRST_LIMIT_S
    assert trial_limit_s(None, [1.0, 2.0], 1) == LEAST_LIMIT_S
    assert trial_limit_s(None, [1.0, 1e3], 2) == LIMIT * 2e3


def test_jobs_carry_the_limits_of_the_study(context, tmp_path):
    study = study_in(tmp_path, "study.trial_timeout=30m", "study.trial_memory_gb=2").study
    config = replace(context.problem.config, study=study)
    limited = replace(context, problem=replace(context.problem, config=config))
    executor = MadeUpExecutor()
    search(limited, executor, 1)
    assert [(job.limit_s, job.memory_gb) for job in executor.jobs] == [(1800.0, 2.0)]
    search(context, executor, 2)
    assert (executor.jobs[1].limit_s, executor.jobs[1].memory_gb) == (LEAST_LIMIT_S, None)
