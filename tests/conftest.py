"""What several tests need: a few real digits, and a small net that has learned them."""

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from autocompress.context import prepare
from autocompress.data import BatchSettings, load_splits, make_data
from autocompress.events import ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.problem import problem_from
from autocompress.runs import layout
from autocompress.study.budget import Amount
from autocompress.study.run import begin, run_study
from autocompress.tasks import classification
from autocompress.training.fitting import Fit, fit, seed_everything

from small_studies import MadeUpTarget, study_in
from tiny_models import TinyVgg


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """For the whole session: a sum's rounding depends on how many threads share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory):
    """What tests run is noted in a folder of their own, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOCOMPRESS_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def forgotten_modules(tmp_path_factory):
    """What a test imports from a folder of its own is forgotten: another may use that name."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = vars(sys.modules[name]).get("__file__")
        if file and file.startswith(str(tmp_path_factory.getbasetemp())):
            del sys.modules[name]


@pytest.fixture(scope="session")
def digits():
    return load_splits("digits", train_limit=600, valid_limit=200, test_limit=200)


@pytest.fixture(scope="session")
def data(digits):
    return make_data(digits, BatchSettings(batch_size=50), device="cpu")


@pytest.fixture(scope="session")
def task():
    return classification(10)


@pytest.fixture
def tiny_vgg():
    torch.manual_seed(0)
    return TinyVgg()


@pytest.fixture(scope="session")
def trained_state(data, task):
    """Weights of a TinyVgg that has learned the digits."""
    seed_everything(0)
    model = TinyVgg()
    fit(model, data, task, Fit("baseline", 4, 1e-2, 0.01), seed=0)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def trained_vgg(trained_state):
    model = TinyVgg()
    model.load_state_dict(trained_state)
    return model.eval()


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """A finished study of four trials, really measured: ``run``, ``events``, ``folder``."""
    folder, events = tmp_path_factory.mktemp("small"), []
    config = study_in(folder)
    executor, runs = InlineExecutor(), folder / "runs"
    run = run_study(config, directory=runs, executor=executor, progress=events.append)
    return SimpleNamespace(run=run, events=events, folder=folder, config=config)


@pytest.fixture(scope="session")
def finished(small_study):
    return small_study.run


@pytest.fixture
def copied(finished, tmp_path):
    """The folder of a copy of that run, which a test may change."""
    return shutil.copytree(finished.path, tmp_path / "micro")


@pytest.fixture(scope="session")
def small_problem(tmp_path_factory):
    """The same study, on a target whose latencies are made up."""
    config = study_in(tmp_path_factory.mktemp("problem"))
    return replace(problem_from(config), target=MadeUpTarget())


@pytest.fixture(scope="session")
def begun(small_problem, tmp_path_factory):
    """What all trials of a run share that has begun, and has no trials."""
    home, none = tmp_path_factory.mktemp("begun"), Amount(trials=0)
    options = {"amount": none, "recipes": None, "executor": None, "progress": ignore}
    begin(small_problem, directory=home, **options)
    return prepare(small_problem, home / "micro", ignore)


@pytest.fixture
def context(begun, tmp_path):
    """The same, for a copy of the run that a test may add trials to."""
    folder = shutil.copytree(begun.folder, tmp_path / "context" / "micro")
    (folder / layout.FINAL).unlink()
    return replace(begun, folder=folder)
