"""A study as objects: what a file names, and what does not fit together."""

from dataclasses import replace

import pytest
from torch import nn

from autocompress.config import study_from
from autocompress.errors import ConfigurationError
from autocompress.metrics import Metric
from autocompress.metrics.metric import LATENCY, MACS, PARAMETERS
from autocompress.model_check import check_model
from autocompress.objectives import objectives_from
from autocompress.problem import (
    digests,
    network_of,
    problem_from,
    target_from,
    task_from,
)
from autocompress.tasks import classification

from small_studies import STUDY, MadeUpTarget, study_in

LAYERS = nn.Flatten(), nn.Linear(64, 10)
WEIGHT = Metric(name="weight_kg", direction="minimize", measure=lambda candidate: 1.0)
NAMED = """
import autocompress as ac
from autocompress.targets import local_target
from autocompress.tasks import classification

@ac.metric(direction="minimize", unit="mJ")
def energy_mj(candidate):
    return 1.0

def task(classes=10):
    return classification(classes)

def target():
    return local_target("torch", device="cpu", threads=1)

def nothing():
    return None
"""


@pytest.fixture
def named(tmp_path, monkeypatch):
    """The folder of a module with a metric, a task and a target of a user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_names.py").write_text(NAMED)
    return tmp_path


def test_a_study_file_says_all_that_is_needed(small_problem):
    assert small_problem.data.sizes == {"train": 300, "valid": 150, "test": 150}
    assert [metric.name for metric in small_problem.objectives] == [
        "accuracy",
        "latency_ms",
        "parameters",
    ]
    assert small_problem.own == ()
    names = [metric.name for metric in small_problem.metrics]
    assert len(set(names)) == len(names)
    model = small_problem.model.structure()
    assert model(small_problem.data.example).shape == (len(small_problem.data.example), 10)
    assert small_problem.teacher is None


def test_what_the_user_named_is_found(named):
    settings = (
        'task.name="own_names:task"',
        'target.runtime="own_names:target"',
        'study.objectives=["accuracy", "own_names:energy_mj"]',
    )
    found = problem_from(study_in(named, *settings))
    assert [metric.name for metric in found.objectives] == ["accuracy", "energy_mj"]
    assert [metric.name for metric in found.own] == ["energy_mj"]
    assert found.target.name
    assert found.task.name == "classification"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('task.name="own_names:nothing"', "to return an autocompress.Task, not NoneType"),
        ('target.runtime="own_names:nothing"', "to return an autocompress.Target, not NoneType"),
        ('study.objectives=["accuracy", "own_names:task"]', "no autocompress.Metric but function"),
        ('study.objectives=["accuracy", "own_names:missing"]', "missing"),
        ('study.plugins=["no_such_module"]', "no_such_module"),
    ],
)
def test_what_the_user_named_must_be_what_it_is_for(named, setting, message):
    with pytest.raises(ConfigurationError, match=message):
        problem_from(study_in(named, setting))


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ('data.source="digit"', "data.source: unknown data set 'digit' .did you mean 'digits'"),
        ('data.source="own_names:nothing"', "data.source: data set 'own_names:nothing'"),
        ('task.name="own_names:nothing"', "task.name: "),
        ('target.runtime="own_names:missing"', "target.runtime: target 'own_names:missing'"),
        ('study.objectives=["own_names:missing"]', "study.objectives: metric"),
        ("limits.energy_jm=3", "limits.energy_jm: unknown key 'energy_jm' .did you mean 'energy_"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_and_place(named, setting, place):
    own = 'study.objectives=["accuracy", "own_names:energy_mj"]'
    with pytest.raises(ConfigurationError, match=f"^--set .*: {place}"):
        problem_from(study_in(named, own, setting))


def test_a_place_in_the_file_is_its_line(named):
    text = STUDY.replace('"digits"', '"digit"')
    line = text.splitlines().index('source = "digit"') + 1
    with pytest.raises(ConfigurationError, match=rf"study\.toml:{line}: data\.source: unknown"):
        problem_from(study_in(named, text=text))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "expected one to five different metrics"),
        (("accuracy",) * 2, "expected one to five different metrics"),
        (("accuracy", "latency_ms", "parameters", "macs", "nonzero", "size_bytes"), "one to five"),
        (("accuracy", "latency"), "unknown metric 'latency' .did you mean 'latency_ms'"),
        ("latency_ms", "expected a list of one to five metrics or their names, got 'latency_ms'"),
        ((len,), "len is no autocompress.Metric but builtin_function_or_method; @autocompress"),
        ((replace(WEIGHT, name="macs"),), "the name of a metric that every run has"),
        ((replace(WEIGHT, measure=None),), "has no function that measures it"),
    ],
)
def test_objectives_are_one_to_five_known_metrics(names, message):
    with pytest.raises(ConfigurationError, match=message):
        objectives_from(names, classification(10))


def test_objectives_are_named_or_given():
    task = classification(10)
    assert objectives_from(None, task) == ((task.score, LATENCY, PARAMETERS), ())
    assert objectives_from(("accuracy", "macs"), task) == ((task.score, MACS), ())
    assert objectives_from(("accuracy", WEIGHT), task) == ((task.score, WEIGHT), (WEIGHT,))


def test_python_objects_cannot_be_built_from_a_file(small_problem):
    model = replace(small_problem.config.model, factory="python:Net")
    with pytest.raises(
        ConfigurationError, match=r"call autocompress\.search with the same objects"
    ):
        problem_from(replace(small_problem.config, model=model))


def test_the_example_has_the_batch_size_of_the_target(small_problem):
    assert small_problem.example.shape == (1, 1, 8, 8)

    class Large(MadeUpTarget):
        batch_size = 10

    example = replace(small_problem, target=Large()).example
    assert example.shape == (10, 1, 8, 8)
    given = small_problem.data.example
    assert example[len(given)].equal(given[0])


def test_a_network_that_is_given_is_copied():
    model = nn.Sequential(*LAYERS)
    network = network_of(model)
    first, second = network.structure(), network.initial()
    assert first is not model
    assert second is not first
    assert second[1].weight.equal(model[1].weight)
    assert (network.title, network.has_weights) == ("Sequential", True)


def test_a_target_and_a_task_are_made_of_their_settings(small_problem):
    target, effort = target_from(small_problem.config)
    assert target.batch_size == 1
    assert effort.budget_s == 0.05
    assert task_from(small_problem.config).score.name == "accuracy"


class Overwriting(nn.Sequential):
    """Changes in place what the backward pass needs."""

    def forward(self, images):
        return super().forward(images).sigmoid().mul_(2)


def test_a_model_that_cannot_be_trained_is_refused(data, task):
    outputs = check_model(nn.Sequential(*LAYERS), data, task)
    assert outputs.shape == (len(data.example), 10)
    with pytest.raises(ConfigurationError, match="cannot be trained: RuntimeError"):
        check_model(Overwriting(*LAYERS), data, task)


def test_a_model_that_does_not_fit_its_data_is_refused(data, task):
    with pytest.raises(ConfigurationError, match="do not fit the model: RuntimeError"):
        check_model(nn.Linear(3, 10), data, task)
    with pytest.raises(ConfigurationError, match=r"^for inputs"):
        check_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), data, task)


def test_what_may_not_change_has_a_digest(small_problem):
    found = digests(small_problem)
    assert digests(small_problem) == found
    tables = small_problem.config.to_dict()
    same = study_from({**tables, "limits": {"accuracy_drop": 0.1}})
    assert digests(replace(small_problem, config=same)) == found
    other = study_from({**tables, "training": {**tables["training"], "epochs": 9}})
    changed = digests(replace(small_problem, config=other))
    assert {name for name in found if found[name] != changed[name]} == {"training"}
    more = digests(replace(small_problem, objectives=small_problem.objectives[:2]))
    assert {name for name in found if found[name] != more[name]} == {"objectives"}
    assert "data" in found


def test_weights_are_drawn_alike_every_time(small_problem):
    first, second = (small_problem.model.initial().state_dict() for _ in range(2))
    assert all(tensor.equal(second[name]) for name, tensor in first.items())
