"""A small net that has learned some real digits, without the package's own training."""

import tempfile

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from tiny_models import TinyVgg


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Let devices be locked in a folder of the test's own: others use the machine too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="session")
def digits():
    """Images [800, 1, 8, 8], normalised, and labels: 600 to learn from, 200 to check with."""
    found = load_digits()
    images = torch.tensor(found.images[:800], dtype=torch.float32).unsqueeze(1)
    return (images - images.mean()) / images.std(), torch.tensor(found.target[:800])


@pytest.fixture(scope="session")
def train_images(digits):
    return digits[0][:600]


@pytest.fixture(scope="session")
def valid_images(digits):
    return digits[0][600:]


@pytest.fixture(scope="session")
def valid_labels(digits):
    return digits[1][600:]


@pytest.fixture(scope="session")
def trained_state(digits):
    torch.manual_seed(0)
    model = TinyVgg()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(6):
        for part in torch.randperm(600).split(50):
            loss = nn.functional.cross_entropy(model(digits[0][part]), digits[1][part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def trained_vgg(trained_state):
    model = TinyVgg()
    model.load_state_dict(trained_state)
    return model.eval()


@pytest.fixture(scope="session")
def onnx():
    """Skip where the packages of the extra are missing."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
