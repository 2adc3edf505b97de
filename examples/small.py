"""What the examples share: a small network that has learned real digits in some seconds."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


def digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits: images [1797, 1, 8, 8] in [0, 1], and labels [1797]."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


def network() -> nn.Module:
    """Return a small convolutional network with random weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def trained(epochs: int = 5) -> nn.Module:
    """Return the network after some epochs on the first 1,200 digits."""
    model, (images, labels) = network(), digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(1200).split(50):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


SPACE = {
    "sparsity": {"low": 0.0, "high": 0.8, "step": 0.1},
    "linear_sparsity": {"low": 0.0, "high": 0.8, "step": 0.1},
    "distillation": ["none", "soft_target"],
}
TRAINING = {"epochs": 2, "recovery_epochs": 1, "learning_rate": 3e-3}
QUICK = {"runtime": "torch", "device": "cpu", "threads": 1, "budget_s": 0.5}
