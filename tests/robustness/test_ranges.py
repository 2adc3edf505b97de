"""Ranges and their steps: what is sampled, enqueued or derived is a value of the distribution."""

import math
import warnings

import optuna
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate, Limits
from autocompress.metrics.metric import PARAMETERS
from autocompress.runs.records import TrialRecord
from autocompress.space.initial import initial_params
from autocompress.space.space import Space
from autocompress.study.proposer import Proposer

from small_studies import study_in

NUMBER = "coefficients.x"  # any number may be searched here
numbers = st.floats(-1e6, 1e6) | st.decimals(-10, 10, places=2).map(float) | st.integers(-9, 9)
steps = st.floats(1e-6, 1e6) | st.decimals("0.01", 3, places=2).map(float) | st.integers(1, 9)


def space_of(low, high, step, name=NUMBER):
    """Return a space of one range; ``None`` where it is refused with the key that is wrong."""
    try:
        return Space({name: {"low": low, "high": high, "step": step}})
    except ConfigurationError as error:
        if str(error).startswith((f"{name}.step: expected ", f"{name}: low ")):
            return None
        raise


def sampled(space, name=NUMBER, **fixed):
    """Return what the space makes of a sample, its distribution, and Optuna's value in it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    if fixed:
        study.enqueue_trial({name: fixed["value"]})
    trial = study.ask()
    value = space.sample(trial)[name]
    return value, trial.distributions[name], trial.params[name]


@hypothesis_settings(deadline=None, database=None, derandomize=True, max_examples=300)
@given(low=numbers, high=numbers, step=steps, wished=st.floats(-1e7, 1e7))
def test_whatever_is_sampled_or_enqueued_is_inside_the_distribution(low, high, step, wished):
    space = space_of(low, high, step)
    if space is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, distribution, _ = sampled(space)
        enqueued = space.nearest({NUMBER: wished})[NUMBER]
        again, _, kept = sampled(space, value=enqueued)
    last = space.dimensions[NUMBER].last
    assert distribution.high == last <= high
    assert all(distribution._contains(each) for each in (value, enqueued, last))
    assert again == kept == enqueued


@pytest.mark.parametrize(
    ("low", "high", "step", "last"),
    [(0.05, 1.0, 0.1, 0.95), (0.05, 1.0, 0.35, 0.75), (0.1, 0.9, 0.05, 0.9), (0.1, 0.5, 2, 0.1)],
)
def test_a_range_ends_with_its_last_step(low, high, step, last):
    space = space_of(low, high, step, "rank")
    assert space.dimensions["rank"].last == last
    assert space.nearest({"rank": 1.0}) == {"rank": last}
    assert max(params["rank"] for _, params in initial_params(space)) == last


def test_whole_numbers_stay_whole():
    space = space_of(1, 10, 4, "epochs")
    value = space.nearest({"epochs": 10})["epochs"]
    assert (value, type(value)) == (9, int)
    assert type(sampled(space, "epochs")[0]) is int


def test_a_value_is_written_alike_whoever_proposes_it():
    space = space_of(0.1, 0.9, 0.1)
    wished = {space.nearest({NUMBER: 0.1 + k * 0.1})[NUMBER] for k in range(9)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {space.sample(study.ask())[NUMBER] for _ in range(60)} <= wished
    assert len(wished) == 9


@pytest.mark.parametrize("step", [0, -0.1, math.inf, math.nan, True, "0.1", 10**400])
def test_a_step_that_is_no_number_is_refused(step):
    with pytest.raises(ConfigurationError, match=r"^rank\.step: expected a number above 0, got"):
        Space({"rank": {"low": 0.05, "high": 1.0, "step": step}})


@pytest.mark.parametrize("step", [1e-300, 5e-324, 1e-7])
def test_a_step_that_floats_cannot_tell_apart_is_refused(step):
    words = rf"^rank\.step: expected at least 1e-06, or no step at all, got {step!r}"
    with pytest.raises(ConfigurationError, match=words):
        Space({"rank": {"low": 0.05, "high": 1.0, "step": step}})


def test_ends_that_no_float_holds_are_refused():
    with pytest.raises(ConfigurationError, match=r"coefficients\.x\.high: expected a number"):
        Space({NUMBER: {"low": 0.0, "high": 10**400}})
    with pytest.raises(ConfigurationError, match="further than a number can say"):
        Space({NUMBER: {"low": -1.5e308, "high": 1.5e308}})


@pytest.mark.parametrize("value", ["inf", "nan", "1" + "0" * 400])
def test_a_study_file_with_numbers_that_no_float_holds_is_refused(tmp_path, value):
    with pytest.raises(ConfigurationError, match=r"study\.timeout: expected a number > 0, got"):
        study_in(tmp_path, f"study.timeout={value}")


def test_a_derived_trial_is_told_to_the_sampler_inside_the_distribution():
    space = space_of(0.05, 1.0, 0.35, "rank")
    known = {"parameters": Estimate(value=1.0)}
    options = {"score": "accuracy", "sampler": "random", "seed": 0}
    made = Proposer(space, [PARAMETERS], Limits(), known, **options)
    made.add(TrialRecord(number=0, state="complete", params={"rank": 0.97}, searched=known))
    (trial,) = made.study.trials
    assert trial.params == {"rank": 0.75}
    assert trial.distributions["rank"]._contains(trial.params["rank"])
