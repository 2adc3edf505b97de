"""What several tests need: a few real digits, and a net small enough to train in a second."""

import pytest
import torch
from torch import nn

from autocompress import datasets
from autocompress.training.batches import BatchSettings, make_batches
from autocompress.training.fitting import Fit, fit, seed_everything


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits():
    return datasets.load("digits", train_limit=600, valid_limit=200, test_limit=200)


@pytest.fixture(scope="session")
def batches(digits):
    return make_batches(digits, BatchSettings(batch_size=50), device="cpu", seed=0)


class TinyVgg(nn.Module):
    """Two convolutions with batch norm, two linear layers: 8 px in, 10 classes out."""

    def __init__(self, width: int = 12, hidden: int = 48) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(8 * width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.head = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.head(self.classifier(self.features(x)))


@pytest.fixture
def tiny_vgg():
    torch.manual_seed(0)
    return TinyVgg()


@pytest.fixture(scope="session")
def trained_state(batches):
    """Weights of a TinyVgg that has learned the digits."""
    seed_everything(0)
    model = TinyVgg()
    fit(model, batches.reseeded(0), Fit("baseline", 4, 1e-2, 0.01))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def trained_vgg(trained_state):
    model = TinyVgg()
    model.load_state_dict(trained_state)
    return model.eval()
