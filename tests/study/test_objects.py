"""``autocompress.search``: studies of Python objects."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import autocompress as ac
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.events import TrialDone, ignore
from autocompress.runs import Run

from small_studies import MadeUpTarget

SPACE = {"sparsity": {"low": 0.0, "high": 0.8, "step": 0.1}, "linear_sparsity": [0.0, 0.5]}
TRAINING = {"epochs": 1, "recovery_epochs": 0, "learning_rate": 3e-3}


def tensors(count=400):
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images[:count], dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return images, torch.tensor(labels[:count])


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 10),
    )  # fmt: skip


def found(directory, data=None, model=None, **options):
    given = {
        "target": MadeUpTarget(),
        "space": SPACE,
        "training": TRAINING,
        "trials": 2,
        "directory": directory,
        "progress": ignore,
        "study": {"derive": False},
        **options,
    }
    return ac.search(model or network(), tensors() if data is None else data, **given)


def test_tensors_are_enough(tmp_path):
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = found(tmp_path, model=model)
    assert run.path == tmp_path / "search"
    assert run.finished
    assert [trial.state for trial in run.trials()] == ["complete"] * 2
    assert [metric.name for metric in run.objectives] == ["accuracy", "latency_ms", "parameters"]
    assert run.pick("fast").metrics["latency_ms"].value > 0
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert run.config["model"]["factory"] == "python:Sequential"
    with pytest.raises(RunError, match="resume"):
        found(tmp_path)
    with pytest.raises(ConfigurationError, match="resume=True"):
        ac.resume_run(run.path)


def test_datasets_and_loaders_are_taken(tmp_path):
    images, labels = tensors()
    parts = [
        TensorDataset(images[a:b], labels[a:b]) for a, b in ((0, 200), (200, 300), (300, 400))
    ]
    of_datasets = found(tmp_path, parts, name="datasets", batch_size=50, trials=1)
    assert dict(of_datasets.sizes) == {"train": 200, "valid": 100, "test": 100}
    loaders = [
        DataLoader(part, batch_size=50, shuffle=index == 0) for index, part in enumerate(parts)
    ]
    of_loaders = found(tmp_path, loaders, name="loaders", trials=1)
    assert dict(of_loaders.sizes) == dict(of_datasets.sizes)
    assert of_loaders.trial(0).state == "complete"


def test_names_of_study_files_are_taken(tmp_path):
    run = found(
        tmp_path,
        "digits",
        target={"runtime": "torch", "device": "cpu", "threads": 1, "budget_s": 0.02},
        space={"sparsity": [0.25, 0.5]},
        study={"sampler": "random"},
        trials=1,
        executor=ac.InlineExecutor(),
    )
    assert run.trial(0).state == "complete"
    assert run.config["data"]["source"] == "digits"
    assert run.config["study"]["sampler"] == "random"


def test_functions_of_ones_own_work_wherever_they_are_defined(tmp_path):
    """As in a notebook, where no other process could import them."""
    seen = []

    @ac.metric(direction="minimize", unit="kB", pick="lean")
    def kilobytes(candidate):
        seen.append(candidate.size_bytes)
        return candidate.size_bytes / 1000

    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets, label_smoothing=0.1)

    run = found(
        tmp_path,
        task=ac.classification(10, loss=loss),
        objectives=["accuracy", kilobytes],
        limits={"kilobytes_ratio": 1.5},
        trials=3,
    )
    assert [metric.name for metric in run.objectives] == ["accuracy", "kilobytes"]
    complete = [trial for trial in run.trials() if trial.state == "complete"]
    measured_again = len(run.final.trials)
    # the model before training, the baseline, each trial, the front again
    assert len(seen) == 2 + len(complete) + measured_again
    lean = run.pick("lean")
    sizes = [trial.metrics["kilobytes"].value for trial in run.front()]
    assert lean.metrics["kilobytes"].value == min(sizes)
    assert run.limits.on("kilobytes")


def test_an_interrupted_search_is_gone_on_with(tmp_path):
    class Once:
        left = 3  # measurements until somebody asks to stop

    @ac.metric(direction="minimize")
    def cost(candidate):
        Once.left -= 1
        if Once.left == -1:
            raise KeyboardInterrupt
        return float(candidate.size_bytes)

    options = {"objectives": ["accuracy", cost], "trials": 3}
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path, **options)
    before = Run.open(tmp_path / "search")
    assert [trial.state for trial in before.trials()] == ["complete", "waiting"]
    events = []
    after = found(tmp_path, **options, resume=True, progress=events.append)
    assert [trial.state for trial in after.trials()] == ["complete"] * 3
    assert after.trial(1).params == before.trial(1).params
    assert after.trial(0).searched == before.trial(0).searched
    assert [e.number for e in events if isinstance(e, TrialDone)] == [1, 2]
    with pytest.raises(RunError, match="training changed since this run began"):
        found(tmp_path, **options, resume=True, training={**TRAINING, "epochs": 2})
    with pytest.raises(RunError, match="data changed since this run began"):
        found(tmp_path, tensors(380), **options, resume=True)


def test_resume_without_a_run_begins_one(tmp_path):
    assert len(found(tmp_path, trials=1, resume=True).trials()) == 1


def test_limits_of_a_resumed_search_are_those_of_its_study_file(tmp_path):
    limited = {"trials": 1, "limits": {"accuracy_drop": 0.5}}
    run = found(tmp_path, **limited)
    seen = []

    def begun(event):
        seen.append(dict(Run.open(run.path).config["limits"]))

    again = {"trials": 2, "resume": True, "progress": begun}
    found(tmp_path, **again, limits={"parameters": 100})
    assert seen[0] == {"parameters": 100}  # before anything else
    assert run.limits.on("parameters")
    assert not any(trial.feasible for trial in run.trials())
    found(tmp_path, **{**again, "trials": 3})
    assert run.limits.on("parameters")  # what is not given stays
    found(tmp_path, **{**again, "trials": 3}, limits={})
    assert not run.limits
    assert run.front()
    before = (run.path / "study.toml").read_bytes()
    with pytest.raises(ConfigurationError, match="accuracy_dorp"):
        found(tmp_path, **again, limits={"accuracy_dorp": 0.1})
    assert (run.path / "study.toml").read_bytes() == before


def test_a_teacher_is_an_object_too(tmp_path):
    space = {"distillation": ["soft_target", "none"]}
    run = found(tmp_path, teacher=network(), space=space, trials=1)
    assert run.config["teacher"]["factory"] == "python:Sequential"
    assert run.trial(0).state == "complete"
    assert (run.path / "teacher" / "weights.safetensors").exists()


@ac.metric(direction="minimize")
def broken(candidate):
    raise LookupError("no scale")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": 3}, r"model: expected a torch\.nn\.Module, a fastai Learner or .* not int"),
        ({"task": 3}, "task: expected an autocompress.Task or the name of one, not int"),
        ({"data": 3}, "int"),
        ({"task": "clasification"}, "classification"),
        ({"target": "torhc"}, "torch"),
        ({"target": 3}, "target: expected an autocompress.Target, the name of a .* not int"),
        ({"limits": ["accuracy_drop"]}, "limits: expected a table.* not list"),
        ({"space": "sparsity"}, "space: expected a table.* not str"),
        ({"teacher": 3}, r"teacher: expected a torch\.nn\.Module or the name .* not int"),
        ({"objectives": "latency_ms"}, "objectives: expected a list .* got 'latency_ms'"),
        ({"objectives": [len]}, "objectives: len is no autocompress.Metric"),
        ({"objectives": [broken]}, "objectives: the metric 'broken': LookupError: no scale"),
        ({"objectives": ["accuracy", "speed"]}, "unknown metric 'speed'"),
        ({"limits": {"accuracy_dorp": 0.1}}, "accuracy_drop"),
        ({"space": {"sparsty": 0.5}}, "sparsity"),
        ({"training": {"epoch": 1}}, "epochs"),
        ({"study": {"sampler": "best"}}, "sampler"),
        ({"trials": 0.5}, "trials"),
        ({"name": "a/b"}, "name"),
        (
            {"data": (torch.zeros(20, 3), torch.arange(20) % 10)},
            "^model: inputs .* of the data do not fit",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        found(tmp_path, **given)
    assert not any(tmp_path.iterdir())


def test_data_must_be_given_unless_a_learner_brings_it(tmp_path):
    with pytest.raises(UsageError, match="data: expected what the model learns from"):
        ac.search(network(), directory=tmp_path)

    class Learner:
        model, dls = network(), tensors()

    run = ac.search(
        Learner(),
        target=MadeUpTarget(),
        space={"sparsity": [0.25, 0.5]},
        training={"epochs": 0, "recovery_epochs": 0},
        trials=1,
        directory=tmp_path,
        progress=ignore,
    )
    assert run.trial(0).state == "complete"
