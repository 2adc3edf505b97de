"""A criterion, a schedule and a distillation loss of your own, used by name."""

import torch
from small import QUICK, TRAINING, digits, trained
from torch import Tensor
from torch.nn import functional as F

import autocompress as ac


@ac.CRITERIA.register
def far_from_mean(weight: Tensor) -> Tensor:
    """Return the distance of each weight from the layer's mean: what is near it goes first."""
    return (weight - weight.mean()).abs()


@ac.SCHEDULES.register
def square_root(progress: float) -> float:
    """Return the share of the final sparsity at a training progress in [0, 1]."""
    return progress**0.5


@ac.DISTILLATION_LOSSES.register
def cosine(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return 1 - the cosine between the outputs of student and teacher, [batch, classes]."""
    return (1 - F.cosine_similarity(student, teacher, dim=1)).mean() * torch.ones(())


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search with the new names; whether the criterion is better than an old one shows."""
    return ac.search(
        trained(),
        digits(),
        space={
            "sparsity": {"low": 0.1, "high": 0.8, "step": 0.1},
            "criterion": ["far_from_mean", "large_final"],
            "schedule": "square_root",
            "distillation": "cosine",
        },
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_names",
        directory=directory,
    )


if __name__ == "__main__":
    print(main().table()["recipe"].to_list())
