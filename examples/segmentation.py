"""Segmentation: a task with another loss, masks as targets, and mean IoU as its score."""

import torch
from small import QUICK, TRAINING
from torch import Tensor, nn
from torch.nn import functional as F

import autocompress as ac


def shapes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noisy pictures [count, 1, 24, 24] of a square and a disc, and masks [count, 24, 24].

    A mask holds 0 for the ground, 1 for the square and 2 for the disc.
    """
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(4, 20, (count, 2, 2), generator=generator)
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    masks = torch.zeros(count, 24, 24, dtype=torch.int64)
    for mask, (square, disc) in zip(masks, places, strict=True):
        mask[(rows - square[0]).abs().maximum((columns - square[1]).abs()) <= 3] = 1
        mask[(rows - disc[0]) ** 2 + (columns - disc[1]) ** 2 <= 16] = 2
    noise = 0.2 * torch.randn(count, 24, 24, generator=generator)
    return (torch.tensor([0.0, 0.6, 1.0])[masks] + noise).unsqueeze(1), masks


def network(epochs: int = 6) -> nn.Module:
    """Return a small fully convolutional network, trained for some epochs."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 3, 1),
    )  # fmt: skip
    images, masks = shapes(256, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        for batch in torch.randperm(256).split(32):
            loss = F.cross_entropy(model(images[batch]), masks[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search with mean IoU, latency and parameters as objectives."""
    return ac.search(
        network(),
        {"train": shapes(256, 0), "valid": shapes(64, 1), "test": shapes(64, 2)},
        task=ac.segmentation(classes=3),
        space={"sparsity": {"low": 0.0, "high": 0.8, "step": 0.1}, "criterion": "taylor"},
        limits={"mean_iou_drop": 0.3},
        training=TRAINING,
        target=QUICK,
        batch_size=32,
        trials=trials,
        name="segmentation",
        directory=directory,
    )


if __name__ == "__main__":
    print(main().table()[["trial", "state", "mean_iou", "latency_ms", "parameters"]])
