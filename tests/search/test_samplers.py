import datetime

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from autocompress.search.samplers import (
    GP_PAYS_S,
    SAMPLERS,
    SETTLING_TRIALS,
    CostAwareSampler,
    wants_flat,
)

START = datetime.datetime(2026, 1, 1)


def study_of(seconds, *, sampler="auto", harvested=0, state=TrialState.COMPLETE):
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.sampler = SAMPLERS[sampler](0)
    for index, cost in enumerate(seconds):
        facts = {"sha256": "0"} | ({"harvested_from": 0} if index < harvested else {})
        trial = create_trial(state=state, values=[0, 0], user_attrs=facts)
        trial.datetime_start = START
        trial.datetime_complete = START + datetime.timedelta(seconds=cost)
        study._storage.create_new_trial(study._study_id, template_trial=trial)
    return study


@pytest.mark.parametrize(
    ("cost", "flat"), [(GP_PAYS_S * 0.9, False), (GP_PAYS_S, True), (GP_PAYS_S * 10, True)]
)
def test_the_cost_of_a_trial_decides(cost, flat):
    study = study_of([cost] * SETTLING_TRIALS)
    assert study.sampler.prefers_gp(study) is flat
    assert wants_flat(study) is flat


def test_the_decision_stays():
    study = study_of([1] * SETTLING_TRIALS + [1000] * 20)
    assert study.sampler.prefers_gp(study) is False


def test_until_the_cost_is_known_every_knob_is_sampled():
    study = study_of([1000] * (SETTLING_TRIALS + 3), harvested=4)
    assert study.sampler.prefers_gp(study) is None
    assert wants_flat(study)


@pytest.mark.parametrize(("name", "flat"), [("tpe", False), ("gp", True), ("random", False)])
def test_named_samplers_are_what_they_are(name, flat):
    assert wants_flat(study_of([], sampler=name)) is flat


@pytest.mark.parametrize("cost", [1, 1000])
def test_whoever_is_chosen_proposes(cost):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=CostAwareSampler(0))
    for _ in range(SETTLING_TRIALS + 3):
        trial = study.ask()
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_categorical("y", ["a", "b"])
        trial.set_user_attr("sha256", "0")
        study.tell(trial, [x, x + (y == "a")])
    assert all(0 <= trial.params["x"] <= 1 for trial in study.trials)
