"""Your own network, a torch Dataset with its own normalisation, and your own loss and score."""

import torch
from small import QUICK, SPACE, TRAINING, digits, trained
from torch.nn import functional as F
from torch.utils.data import Dataset

import autocompress as ac


class Digits(Dataset):
    """Digits as this network was trained to see them; autocompress leaves them as they are."""

    def __init__(self, first: int, last: int) -> None:
        images, labels = digits()
        self.images, self.labels = images[first:last], labels[first:last]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.labels[index]


def smooth_cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy with smoothed labels, averaged over the batch."""
    return F.cross_entropy(outputs, labels, label_smoothing=0.1)


def top_3(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return for each image whether its label is among the three highest outputs, bool [batch]."""
    return (outputs.topk(3).indices == labels.unsqueeze(1)).any(1)


TOP_3 = ac.Metric(
    name="top_3",
    title="top 3",
    direction="maximize",
    format="fraction",
    comparison="difference",
    pick="accurate",
)


def task() -> ac.Task:
    """Return the task; in a study file: ``[task] name = "own_model_and_data:task"``."""
    return ac.Task(name="digits", loss=smooth_cross_entropy, scores=[ac.Share(top_3, TOP_3)])


def data() -> tuple[Dataset, Dataset, Dataset]:
    """Return train, valid and test: ``[data] source = "own_model_and_data:data"``."""
    return Digits(0, 1200), Digits(1200, 1500), Digits(1500, 1797)


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search on train, valid and test data sets of one's own."""
    return ac.search(
        trained(),
        data(),
        task=task(),
        space=SPACE,
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_model_and_data",
        directory=directory,
    )


if __name__ == "__main__":
    print(main().table()[["trial", "state", "top_3", "latency_ms", "parameters"]])
