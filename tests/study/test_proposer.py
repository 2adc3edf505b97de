"""The sampler knows the same of a run whether it proposed the trials itself or read them."""

import datetime

import pytest
from optuna.trial import TrialState

from autocompress.metrics import Estimate
from autocompress.metrics.limits import Limits
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.results import Failure
from autocompress.runs.records import TrialRecord
from autocompress.samplers import PARENT, SETTLING_TRIALS, UNFINISHED
from autocompress.space.space import Choices, Range, Space
from autocompress.study.proposer import Proposer
from autocompress.tasks.classification import ACCURACY
from autocompress.training.fitting import Training

OBJECTIVES = (ACCURACY, LATENCY, PARAMETERS)
SPACE = Space(
    {
        "sparsity": Range(0.0, 0.8),
        "granularity": Choices(("filter", "weight")),
        "distillation": Choices(("none", "soft_target")),
        "temperature": Range(1.0, 5.0),
    },
    Training(epochs=10, recovery_epochs=4),
)
BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def numbers(**values):
    return {name: Estimate(value=value) for name, value in values.items()}


BASELINE = numbers(accuracy=0.95, latency_ms=2.0, parameters=1000)


def proposer(sampler="tpe", *, objectives=OBJECTIVES, seed=0, **limits):
    known = Limits.from_mapping(limits, OBJECTIVES)
    return Proposer(
        SPACE, objectives, known, BASELINE, score="accuracy", sampler=sampler, seed=seed
    )


def record(number, params, state="complete", *, seconds=1.0, **more):
    started = BEGAN + datetime.timedelta(seconds=100 * number)
    return TrialRecord(
        number=number,
        state=state,
        params=params,
        started=started,
        finished=started + datetime.timedelta(seconds=seconds),
        **more,
    )


def stopped(number, params, bound=0.7, **known):
    seen = numbers(accuracy=0.2, **known)
    failure = Failure(stage="train", reason="it can no longer enter the front", bound=bound)
    return record(number, params, "pruned", searched=seen, failure=failure)


def known_of(made):
    """Return what the sampler knows of each trial."""
    return [
        (t.state, t.values, t.params, t.distributions, dict(t.constraints), t.user_attrs)
        for t in made.study.trials
    ]


def made_up_end(number, params):
    found = numbers(accuracy=0.9 - 0.01 * number, latency_ms=1.0 + number, parameters=500 + number)
    if number % 4 == 1:
        return stopped(number, params, parameters=700)
    if number % 4 == 2:
        return record(number, params, "failed", failure=Failure(stage="train", reason="broken"))
    return record(number, params, searched=found)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "auto", "nsga2", "random"])
def test_what_is_restored_is_what_was_told(sampler):
    first, again = (proposer(sampler, parameters=600, accuracy_drop=0.1) for _ in range(2))
    records = []
    for number in range(6):
        proposal = first.ask()
        records.append(made_up_end(number, proposal.params))
        first.tell(proposal, records[-1])
    derived = record(6, records[0].params, searched=records[0].searched, parent=0)
    first.add(derived)
    again.restore([*records, derived])
    assert known_of(again) == known_of(first)
    states = [trial.state for trial in again.study.trials]
    assert states[2] is TrialState.FAIL
    assert states[1] is (TrialState.COMPLETE if proposal.flat else TrialState.PRUNED)
    assert again.study.trials[6].user_attrs == {PARENT: 0}


def test_trials_that_wait_or_run_are_not_restored():
    made = proposer()
    params = {"sparsity": 0.5, "granularity": "filter", "distillation": "none", "temperature": 1.0}
    made.restore([record(0, params, "waiting"), record(1, params, "running")])
    assert made.study.trials == []


@pytest.mark.parametrize("sampler", ["gp", "auto"])
def test_flat_spaces_ask_for_everything_and_conditional_ones_for_what_has_an_effect(sampler):
    wish = {"sparsity": 0.0, "granularity": "weight", "distillation": "none", "temperature": 2.0}
    for name, count in ((sampler, 4), ("tpe", 2)):
        made = proposer(name)
        made.enqueue(wish)
        proposal = made.ask()
        assert proposal.flat is (name == sampler)
        assert len(proposal.trial.params) == count
        made.add(record(0, wish, searched=BASELINE))
        assert made.study.trials[-1].params.keys() == proposal.trial.params.keys()


def test_a_stopped_trial_stands_for_the_best_that_it_could_reach():
    made = proposer("gp")
    proposal = made.ask()
    made.tell(proposal, stopped(0, proposal.params, parameters=700))
    (trial,) = made.study.trials
    assert trial.values == [0.7, 2.0, 700]  # nothing measured a latency: the baseline's
    assert trial.constraints[UNFINISHED] == 1


def test_the_score_that_could_be_reached_is_put_where_the_score_is():
    made = proposer("gp", objectives=(LATENCY, ACCURACY))
    proposal = made.ask()
    made.tell(proposal, stopped(0, proposal.params))
    assert made.study.trials[0].values == [2.0, 0.7]
    without = proposer("gp", objectives=(LATENCY, PARAMETERS))
    proposal = without.ask()
    without.tell(proposal, stopped(0, proposal.params))
    assert without.study.trials[0].values == [2.0, 1000]


def test_limits_of_a_stopped_trial_follow_its_best_outcome():
    made = proposer("gp", accuracy=0.6, parameters=600)
    proposal = made.ask()
    made.tell(proposal, stopped(0, proposal.params, bound=0.7, parameters=700))
    constraints = made.study.trials[0].constraints
    assert constraints["accuracy"] == pytest.approx(-0.1)
    assert constraints["parameters"] == 100


def test_a_complete_trial_keeps_its_limits_or_not():
    made = proposer("tpe", parameters=600)
    for number, parameters in enumerate((500, 700)):
        proposal = made.ask()
        found = numbers(accuracy=0.9, latency_ms=1.0, parameters=parameters)
        made.tell(proposal, record(number, proposal.params, searched=found))
    by = [trial.constraints for trial in made.study.trials]
    assert by == [
        {"parameters": -100, UNFINISHED: -1},
        {"parameters": 100, UNFINISHED: -1},
    ]


def wish(sparsity):
    return {
        "sparsity": sparsity,
        "granularity": "filter",
        "distillation": "none",
        "temperature": 1.0,
    }


def test_what_is_enqueued_comes_first_and_what_was_interrupted_before_it():
    made = proposer()
    for name, sparsity in (("a", 0.1), ("b", 0.2)):
        made.enqueue(wish(sparsity), name)
    waiting = record(7, wish(0.7), "waiting", name="c")
    proposals = [made.ask_again(waiting), made.ask(), made.ask(), made.ask()]
    assert [p.name for p in proposals] == ["c", "a", "b", None]
    assert [p.params["sparsity"] for p in proposals[:3]] == [0.7, 0.1, 0.2]
    assert proposals[0].params == waiting.params


def test_a_trial_that_is_given_up_has_no_values():
    made = proposer()
    made.forget(made.ask())
    assert [trial.state for trial in made.study.trials] == [TrialState.FAIL]


def test_a_trial_that_the_space_cannot_express_is_left_out():
    made = proposer()
    made.add(record(0, {**wish(0.5), "granularity": "kernel"}, searched=BASELINE))
    assert made.study.trials == []
    made.add(record(0, {**wish(0.9)}, searched=BASELINE))  # moved to the nearest
    assert made.study.trials[0].params["sparsity"] == 0.8


def test_shorter_training_makes_recipes_with_fewer_epochs():
    made = proposer()
    made.fidelity = 0.3
    proposal = made.ask()
    training = proposal.space.recipe(proposal.params).training
    assert (training.epochs, training.recovery_epochs) == (3, 1)


def test_what_restored_trials_took_decides_who_proposes():
    made = proposer("auto")
    for number in range(SETTLING_TRIALS):
        assert made.study.sampler.prefers_gp(made.study) is None
        made.add(record(number, wish(0.1 * number), searched=BASELINE, seconds=5.0))
    assert made.study.sampler.prefers_gp(made.study) is True
    seconds = {trial.duration.total_seconds() for trial in made.study.trials}
    assert seconds == {5.0}
