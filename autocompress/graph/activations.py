"""What is known of the activations and weights that units are found on."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["weight", "bias", "norm_weight", "norm_bias", "norm_statistic", "raw", "consumer"]
ROLE_ORDER: tuple[Role, ...] = (
    "weight",
    "raw",
    "norm_weight",
    "bias",
    "norm_bias",
    "norm_statistic",
    "consumer",
)


@dataclass(frozen=True)
class Activation:
    """What is known of one activation.

    Attributes:
        labels: int64, shape of the activation (constant dimensions expanded).
        zero: bool, same shape: exactly 0 once the element's unit is zero.
    """

    labels: Tensor
    zero: Tensor


@dataclass(frozen=True)
class WeightAxis:
    """One dimension of a weight: which indices of which dimension of which tensor it shows."""

    tensor: str
    dim: int
    size: int
    index: Tensor


WeightAxes = tuple[WeightAxis, ...]


def fixed(shape: torch.Size) -> Activation:
    """Return an activation of this shape of which nothing can be removed."""
    return Activation(
        torch.zeros((), dtype=torch.int64).expand(shape),
        torch.zeros((), dtype=torch.bool).expand(shape),
    )
