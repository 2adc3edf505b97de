"""The search with an executor that returns made-up results: numbers, order, and interruptions."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from autocompress.errors import AutocompressError, RunError
from autocompress.events import Message, TrialDone, ignore
from autocompress.execution import Done
from autocompress.execution.executor import interrupted
from autocompress.metrics import Metric
from autocompress.problem import digests
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Failure, TrialResult
from autocompress.runs import Run, layout
from autocompress.runs.journal import Journal, Proposed, Session, now, read_events
from autocompress.space.space import Constant, Range, Space
from autocompress.study.budget import Amount
from autocompress.study.loop import PAYS_S, SETTLED
from autocompress.study.run import go_on
from autocompress.tasks import Mean, Task

from made_up_executor import MadeUpExecutor, complete, failed, proposer_of, search
from small_studies import limited


def params(sparsity, **more):
    given = {"sparsity": sparsity, "linear_sparsity": 0.0, "distillation": "none", "rank": 1.0}
    return {**given, **more}


def enqueued(context, *sparsities):
    made = proposer_of(context)
    for index, sparsity in enumerate(sparsities):
        made.enqueue(params(sparsity), f"wish {index}")
    return made


def test_trials_are_numbered_in_the_order_in_which_they_begin(context):
    executor, events = MadeUpExecutor(), []
    made = enqueued(context, 0.1, 0.2)
    run = search(context, executor, 4, proposer=made, progress=events.append)
    assert [job.number for job in executor.jobs] == [0, 1, 2, 3]
    assert [trial.name for trial in run.trials()] == ["wish 0", "wish 1", None, None]
    assert [t.origin for t in run.trials()] == ["initial", "initial", "sampler", "sampler"]
    done = [event for event in events if isinstance(event, TrialDone)]
    assert [(event.number, event.done, event.total) for event in done] == [
        (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 4, 4),
    ]  # fmt: skip


def test_as_many_run_at_once_as_the_executor_takes_and_no_more_than_are_wanted(context):
    seen = []

    def end(job):
        seen.append(len(executor.running))
        return complete(job)

    executor = MadeUpExecutor(end, capacity=2)
    assert len(search(context, executor, 5).trials()) == 5
    assert seen == [2, 2, 2, 2, 1]


def test_failures_count_as_trials(context):
    run = search(context, MadeUpExecutor(failed), 3)
    assert [trial.state for trial in run.trials()] == ["failed"] * 3
    assert {trial.reason for trial in run.trials()} == {"it broke"}


def test_after_the_time_no_trial_begins(context):
    executor = MadeUpExecutor()
    search(context, executor, 5, timeout_s=0.0)
    assert executor.jobs == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AutocompressError("no worker")])
def test_what_is_interrupted_is_run_first_with_its_number_and_recipe(context, error):
    def end(job):
        if job.number == 1:
            raise error
        return complete(job)

    broken = MadeUpExecutor(end, capacity=2)
    with pytest.raises(type(error)):
        search(context, broken, 6, proposer=enqueued(context, 0.1, 0.2, 0.3))
    run = Run.open(context.folder)
    assert [trial.state for trial in run.trials()] == ["complete", "waiting", "waiting"]
    again = MadeUpExecutor(capacity=2)
    after = search(context, again, 6, proposer=enqueued(context, 0.4, 0.5))
    assert [job.number for job in again.jobs] == [1, 2, 3, 4, 5]
    before = {job.number: job.recipe for job in broken.jobs}
    assert [job.recipe for job in again.jobs[:2]] == [before[1], before[2]]
    names = ["wish 0", "wish 1", "wish 2", "wish 0", "wish 1", None]
    assert [trial.name for trial in after.trials()] == names
    sparsities = [trial.params["sparsity"] for trial in after.trials()[:5]]
    assert sparsities == [0.1, 0.2, 0.3, 0.4, 0.5]  # what was enqueued is not lost
    assert [trial.state for trial in after.trials()] == ["complete"] * 6


def test_what_a_kill_left_behind_is_run_first(context):
    class Killed(BaseException):
        pass

    class Dying(MadeUpExecutor):
        def cancel(self, number):
            raise Killed  # nothing is written any more

    def die(job):
        raise Killed

    dying = Dying(die)
    with pytest.raises(Killed):
        search(context, dying, 3)
    assert [trial.state for trial in Run.open(context.folder).trials()] == ["waiting"]
    again = MadeUpExecutor()
    search(context, again, 3)
    assert [job.number for job in again.jobs] == [0, 1, 2]
    assert again.jobs[0].recipe == dying.jobs[0].recipe


def test_the_sampler_is_told_of_the_recipe_that_was_run_again(context):
    def stop(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(context, MadeUpExecutor(stop), 2, proposer=enqueued(context, 0.3))
    made = enqueued(context, 0.6)
    search(context, MadeUpExecutor(), 2, proposer=made)
    assert [trial.params["sparsity"] for trial in made.study.trials] == [0.3, 0.6]


def test_derived_trials_are_numbered_after_their_parent(context):
    def end(job):
        if job.number != 1:
            return complete(job)
        recipe = Recipe.from_dict(job.recipe)
        short = replace(recipe, training=replace(recipe.training, recovery_epochs=0))
        kid = complete(job, parameters=900)
        kids = (
            replace(kid, recipe=short.to_dict(), fraction=0.5),
            replace(kid, recipe=replace(recipe, fold=False).to_dict()),
        )
        return complete(job, derived=kids)

    executor, events = MadeUpExecutor(end), []
    made = enqueued(context, 0.2, 0.8)
    run = search(context, executor, 3, proposer=made, progress=events.append)
    assert [trial.parent for trial in run.trials()] == [None, None, 1, 1, None]
    assert [job.number for job in executor.jobs] == [0, 1, 4]
    assert run.trial(2).params["sparsity"] == pytest.approx(0.4)
    assert run.trial(2).params["recovery_epochs"] == 0
    assert run.trial(3).params["sparsity"] == 0.8
    assert run.front_document()["trials"]["derived"] == 2
    done = [(e.number, e.parent, e.done) for e in events if isinstance(e, TrialDone)]
    assert done == [(0, None, 1), (1, None, 2), (2, 1, 2), (3, 1, 2), (4, None, 3)]
    assert len(made.study.trials) == 5  # the sampler knows them too
    rivals = {rival.number: rival for rival in executor.jobs[-1].rivals}
    assert sorted(rivals) == [0, 1, 2, 3]
    assert rivals[2].curve == ()


def test_the_time_that_deriving_left_goes_to_the_next_trial(context):
    executor = MadeUpExecutor(derive_s=0.5)
    search(context, executor, 3)
    assert [job.derive_s for job in executor.jobs] == [0.0, 0.5, 0.5]


def test_settings_that_contradict_each_other_are_refused(context):
    space = Space({"sparsity": Constant(0.5), "rewind": Constant(0.8)})
    executor = MadeUpExecutor()
    run = search(context, executor, 1, proposer=proposer_of(context, space))
    assert executor.jobs == []
    assert run.trial(0).state == "pruned"
    assert "rewind" in run.trial(0).reason


class StartsFrom(Space):
    """A space whose recipes start from trial 0."""

    def recipe(self, params, analysis=None):
        return super().recipe(params, analysis).with_values({"start": 0})


def test_a_start_that_has_no_model_is_refused(context):
    search(context, MadeUpExecutor(failed), 1)
    executor, space = MadeUpExecutor(), StartsFrom({"sparsity": Constant(0.5)})
    run = search(context, executor, 2, proposer=proposer_of(context, space))
    assert executor.jobs == []
    assert run.trial(1).state == "pruned"
    assert "trial 0 has no model to start from" in run.trial(1).reason


def test_rivals_are_the_complete_trials_with_curves_and_feasibility(context):
    curve = (EpochRecord(stage="train", epoch=1, train_loss=1, valid_loss=1, score=0.5),)

    def end(job):
        if job.number == 1:
            return failed(job)
        return complete(job, parameters=1000 if job.number else 5000, curve=curve)

    text = (context.folder / layout.STUDY).read_text()
    limited = text.replace("[limits]", "[limits]\nparameters = 3000")
    (context.folder / layout.STUDY).write_text(limited)
    executor = MadeUpExecutor(end)
    search(context, executor, 4)
    rivals = executor.jobs[-1].rivals
    assert [(rival.number, rival.feasible) for rival in rivals] == [(0, False), (2, True)]
    assert rivals[0].curve == curve
    assert rivals[1].values == {"accuracy": 0.9, "latency_ms": 3.0, "parameters": 1000}
    assert rivals[1].score == 0.9


@pytest.mark.parametrize(("trained_s", "pays"), [(PAYS_S, True), (PAYS_S - 1, False)])
def test_estimates_must_cost_less_than_stopping_saves(context, trained_s, pays):
    def end(job):
        return complete(job, seconds={"train": trained_s - 2.0, "recover": 2.0, "measure": 99.0})

    executor = MadeUpExecutor(end)
    search(context, executor, SETTLED + 1)
    assert [job.stop_early for job in executor.jobs] == [False] * SETTLED + [pays]


def test_only_samplers_that_need_values_ask_for_estimates_of_pruned_trials(context):
    for sampler, wanted in (("tpe", False), ("gp", True)):
        executor, before = MadeUpExecutor(), len(Run.open(context.folder).trials())
        made = proposer_of(context, sampler=sampler, seed=before)
        search(context, executor, before + 1, proposer=made)
        assert [job.estimate for job in executor.jobs] == [wanted]


def slow(job):
    time.sleep(0.05)
    return complete(job)


def test_trials_are_shortened_once_so_that_enough_fit_into_the_time(context):
    training = replace(context.problem.config.training, epochs=10, recovery_epochs=4)
    space = replace(context.problem.config.space(), training=training)
    executor, events = MadeUpExecutor(slow), []
    made = proposer_of(context, space)
    search(context, executor, 5, proposer=made, timeout_s=0.1, progress=events.append)
    epochs = [Recipe.from_dict(job.recipe).training.epochs for job in executor.jobs]
    assert epochs[:2] == [10, 10]
    assert epochs[2] < 10
    assert epochs[2:] == epochs[2:3] * 3
    messages = [event.text for event in events if isinstance(event, Message)]
    assert len(messages) == 1
    assert "of the epochs" in messages[0]
    events = read_events(context.folder / layout.JOURNAL)
    noted = [event.fidelity for event in events if isinstance(event, Session)]
    assert noted == [None, None, made.fidelity]  # of ``begun``, of this session, and the change


def test_a_later_session_goes_on_with_as_few_epochs(context):
    Journal(context.folder / layout.JOURNAL).append(Session(time=now(), fidelity=0.3))
    training = replace(context.problem.config.training, epochs=10, recovery_epochs=4)
    config = replace(context.problem.config, training=training)
    problem = replace(context.problem, config=config)
    header = (context.folder / layout.HEADER).read_text()
    old, new = digests(context.problem)["training"], digests(problem)["training"]
    (context.folder / layout.HEADER).write_text(header.replace(old, new))
    executor = MadeUpExecutor(failed)
    run = Run.open(context.folder)
    go_on(problem, run, amount=Amount(trials=1), executor=executor, progress=ignore)
    assert Recipe.from_dict(executor.jobs[0].recipe).training.epochs == 3
    assert executor.closed


def test_epochs_that_are_searched_are_not_shortened(context):
    searched = {"epochs": Range(1, 10), "recovery_epochs": Range(1, 4), "sparsity": Range(0, 0.9)}
    section = replace(context.problem.config.search, params=Space(searched).dimensions)
    config = replace(context.problem.config, search=section)
    context = replace(context, problem=replace(context.problem, config=config))
    made = proposer_of(context, Space(searched))
    search(context, MadeUpExecutor(slow), 4, proposer=made, timeout_s=0.1)
    assert made.fidelity == 1.0


def test_a_trial_that_ends_as_interrupted_waits_and_is_not_told(context):
    def end(job):
        return interrupted(job).result if job.number == 0 else complete(job)

    made = proposer_of(context)
    run = search(context, MadeUpExecutor(end), 1, proposer=made)
    assert [trial.state for trial in run.trials()] == ["waiting", "complete"]
    assert made.study.trials[0].values is None


def test_limits_decide_what_the_sampler_is_told(context):
    context = limited(context, parameters=600)
    made = proposer_of(context)
    search(context, MadeUpExecutor(), 1, proposer=made)
    assert made.study.trials[0].constraints["parameters"] == 400


def test_a_session_that_goes_on_with_fewer_epochs_keeps_their_number(context):
    made = proposer_of(context, context.problem.config.space())
    made.fidelity = 0.3
    search(context, MadeUpExecutor(slow), 4, proposer=made, timeout_s=60.0)
    assert made.fidelity == 0.3


def lost(job):
    failure = Failure(stage="train", reason="CUDA error: an illegal memory access")
    return TrialResult(state="failed", recipe=job.recipe, failure=failure)


class Breaking(MadeUpExecutor):
    """One whose first job breaks its GPU, and ends together with the second."""

    def wait(self, timeout_s):
        if self.cancelled or not self.running:
            return super().wait(timeout_s)
        jobs, self.running = self.running[:2], self.running[2:]
        first = Done(number=jobs[0].number, result=lost(jobs[0]), device_lost=True)
        return [first, *(Done(number=job.number, result=complete(job)) for job in jobs[1:])]


def test_a_trial_that_broke_the_device_has_failed_and_the_session_ends(context):
    with pytest.raises(AutocompressError, match=r"trial 0 broke the GPU .*illegal memory"):
        search(context, Breaking(capacity=3), 6)
    states = [trial.state for trial in Run.open(context.folder).trials()]
    assert states == ["failed", "complete", "waiting"]
    again = MadeUpExecutor()
    search(context, again, 3)
    assert [job.number for job in again.jobs] == [2]


def test_a_refusal_that_a_kill_interrupted_is_a_refusal_again(context):
    space = Space({"sparsity": Constant(0.5), "rewind": Constant(0.8)})
    params = {"sparsity": 0.5, "rewind": 0.8}
    proposed = Proposed(number=0, time=now(), params=params, recipe={})
    Journal(context.folder / layout.JOURNAL).append(proposed)
    executor = MadeUpExecutor()
    run = search(context, executor, 1, proposer=proposer_of(context, space))
    assert executor.jobs == []
    assert (run.trial(0).state, "rewind" in run.trial(0).reason) == ("pruned", True)


def test_a_duplicate_that_a_kill_interrupted_is_refused_again(context):
    space = Space({"sparsity": Constant(0.5)}, context.problem.config.training)
    first = search(context, MadeUpExecutor(), 1, proposer=proposer_of(context, space)).trial(0)
    proposed = Proposed(number=1, time=now(), params=first.params, recipe=first.recipe)
    Journal(context.folder / layout.JOURNAL).append(proposed)
    executor = MadeUpExecutor()
    run = search(context, executor, 2, proposer=proposer_of(context, space))
    assert executor.jobs == []
    assert run.trial(1).reason == "the same recipe as trial 0"
    assert run.trial(1).searched == run.trial(0).searched
    assert not run.trial(1).feasible


class Broken(Space):
    """A space with settings of a user's that do not come about."""

    def recipe(self, params, analysis=None):
        raise RuntimeError("no such luck")


def test_a_recipe_that_cannot_be_made_fails_alone(context):
    executor = MadeUpExecutor()
    run = search(context, executor, 2, proposer=proposer_of(context, Broken({"sparsity": 0.5})))
    assert executor.jobs == []
    assert [(t.state, t.stage, t.reason) for t in run.trials()] == [
        ("failed", "propose", "RuntimeError: no such luck")
    ] * 2


def test_a_trial_begins_when_its_worker_takes_it(context):
    began = datetime(2030, 1, 1, tzinfo=UTC)

    class Late(MadeUpExecutor):
        def wait(self, timeout_s):
            return [replace(done, started=began.isoformat()) for done in super().wait(timeout_s)]

    run = search(context, Late(), 1)
    assert run.trial(0).started == began


def test_a_score_whose_end_is_not_predicted_is_told_and_stops_nothing(context):
    error = Metric(name="error", title="error", direction="minimize")
    task = Task(name="depth", loss=lambda a, b: a.sum(), scores=[Mean(lambda a, b: a, error)])
    context = replace(context, problem=replace(context.problem, task=task))
    executor, events = MadeUpExecutor(), []
    search(context, executor, 0, progress=events.append)
    (event,) = events
    assert "no trial is stopped early" in event.text
    assert "error" in event.text


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ConnectionResetError("the board is gone"), ConnectionError, "the board is gone"),
        (TimeoutError("the board is slow"), TimeoutError, "the board is slow"),
        (OSError("no space left"), RunError, "could not be written .*no space left.*resume"),
    ],
)
def test_a_lost_connection_is_no_full_disk(context, error, kind, message):
    def broken(job):
        raise error

    options = {"executor": MadeUpExecutor(broken), "progress": ignore}
    with pytest.raises(kind, match=message):
        go_on(context.problem, Run.open(context.folder), amount=Amount(trials=1), **options)
    assert [trial.state for trial in Run.open(context.folder).trials()] == ["waiting"]
