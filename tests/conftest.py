"""What several tests need: a few real digits, and a small net that has learned them."""

import pytest
import torch

from autocompress.data import BatchSettings, load_splits, make_data
from autocompress.tasks import classification
from autocompress.training.fitting import Fit, fit, seed_everything

from tiny_models import TinyVgg


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """For the whole session: a sum's rounding depends on how many threads share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits():
    return load_splits("digits", train_limit=600, valid_limit=200, test_limit=200)


@pytest.fixture(scope="session")
def data(digits):
    return make_data(digits, BatchSettings(batch_size=50), device="cpu")


@pytest.fixture(scope="session")
def batches(data):
    """The same, under the name that it had in release 0.1."""
    return data


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
