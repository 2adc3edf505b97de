import datetime
import random

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from autocompress.samplers import (
    ASK_S,
    PARENT,
    SAMPLERS,
    SETTLING_TRIALS,
    UNFINISHED,
    WORTH,
    CostAwareSampler,
    wants_flat,
)

START = datetime.datetime(2026, 1, 1)


def study_of(seconds, *, sampler="auto", derived=0, unfinished=0, state=TrialState.COMPLETE):
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.sampler = SAMPLERS[sampler](0)
    for index, cost in enumerate(seconds):
        facts = {PARENT: 0} if index < derived else {}
        end = {UNFINISHED: 1.0 if index < unfinished else -1.0}
        trial = create_trial(state=state, values=[0, 0], user_attrs=facts, constraints=end)
        trial.datetime_start = START
        trial.datetime_complete = START + datetime.timedelta(seconds=cost)
        study._storage.create_new_trial(study._study_id, template_trial=trial)
    return study


@pytest.mark.parametrize(
    ("cost", "flat"), [(WORTH * 0.9, False), (WORTH * 1.1, True), (WORTH * 10, True)]
)
def test_the_cost_of_a_trial_against_that_of_an_ask_decides(cost, flat):
    study = study_of([2 * cost] * SETTLING_TRIALS)
    study.set_user_attr(ASK_S, 2.0)
    assert study.sampler.prefers_gp(study) is flat
    assert wants_flat(study) is flat


def test_the_last_trials_count():
    study = study_of([1000] * 20 + [1] * SETTLING_TRIALS)
    assert study.sampler.prefers_gp(study)  # until an ask has told what it takes
    study.set_user_attr(ASK_S, 1.0)
    assert study.sampler.prefers_gp(study) is False
    study.set_user_attr(ASK_S, 0.1)
    assert study.sampler.prefers_gp(study)


@pytest.mark.parametrize("without", ["derived", "unfinished"])
def test_until_the_cost_is_known_every_parameter_is_sampled(without):
    study = study_of([1000] * (SETTLING_TRIALS + 3), **{without: 4})
    assert study.sampler.prefers_gp(study) is None
    assert wants_flat(study)


@pytest.mark.parametrize(("name", "flat"), [("tpe", False), ("gp", True), ("random", False)])
def test_named_samplers_are_what_they_are(name, flat):
    assert wants_flat(study_of([], sampler=name)) is flat


def test_asks_of_the_gaussian_process_are_measured():
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=CostAwareSampler(0))
    assert 0 <= grown(study, SETTLING_TRIALS, seconds=1000)["x"] <= 1
    assert study.user_attrs[ASK_S] > 0
    study.set_user_attr(ASK_S, 0.0)
    grown(study, 0)
    assert study.user_attrs[ASK_S] == 0  # the least of all


def test_asks_of_others_are_not_measured():
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=CostAwareSampler(0))
    for _ in range(SETTLING_TRIALS):
        trial = study.ask()
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_categorical("y", ["a", "b"])
        study.tell(trial, [x, x + (y == "a")])
    assert ASK_S not in study.user_attrs
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_repeat_with_their_seed(name):
    def values(seed):
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=SAMPLERS[name](seed)
        )
        for _ in range(4):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            study.tell(trial, [x, x])
        return [t.params["x"] for t in study.trials]

    assert values(1) == values(1) != values(2)


def grown(study, count, *, seconds=1.0):
    """Add complete trials of two parameters, the same ones for every study, and ask."""
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    generator = random.Random(0)
    for _ in range(count):
        x, y = generator.random(), generator.random()
        trial = create_trial(params={"x": x, "y": y}, distributions=space, values=[x - y, x * y])
        trial.datetime_start = START
        trial.datetime_complete = START + datetime.timedelta(seconds=seconds)
        study.add_trial(trial)
    return study.ask(space).params


def test_an_ask_of_the_gaussian_process_depends_on_no_other():
    directions = ["maximize", "minimize"]
    used, new = SAMPLERS["gp"](0), SAMPLERS["gp"](0)
    grown(optuna.create_study(directions=directions, sampler=used), 10)
    asked = [
        grown(optuna.create_study(directions=directions, sampler=sampler), 14)
        for sampler in (used, new)
    ]
    assert asked[0] == asked[1]
