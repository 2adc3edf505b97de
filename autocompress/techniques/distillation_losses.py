"""How far a student is from its teacher: pure functions of outputs or of feature maps."""

import inspect
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from autocompress.registry import Registry, by_name, declare, declared
from autocompress.techniques.features import same_resolution

DistillationLoss = Callable[..., Tensor]


def soft_target(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Match softened classes: T^2 KL(softmax(t / T) || softmax(s / T)) (Hinton et al. 2015).

    Args:
        student: logits ``[batch, classes, ...]``.
        teacher: logits of the same shape.
        temperature: > 0; higher is softer.
    """
    log_student = F.log_softmax(student / temperature, 1)
    log_teacher = F.log_softmax(teacher / temperature, 1)
    divergence = F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(1)
    return temperature**2 * divergence.mean()


def logits(student: Tensor, teacher: Tensor) -> Tensor:
    """Match logits: mean((s - t)^2) (Ba & Caruana 2014).

    Args:
        student: logits ``[batch, classes, ...]``.
        teacher: logits of the same shape.
    """
    return F.mse_loss(student, teacher)


@declare(compares="features")
def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Match where features are strong: norm(a_s - a_t)^2 (Zagoruyko & Komodakis 2017, eq. 2).

    ``a`` is the sum of squares over channels, flattened and divided by its L2 norm; the result is
    the mean over the batch, in [0, 2]. Maps of two resolutions are averaged down to the smaller.

    Args:
        student: ``[batch, channels, height, width]``.
        teacher: the same, any number of channels.
    """
    student, teacher = same_resolution(student, teacher)
    return (_attention(student) - _attention(teacher)).square().sum(1).mean()


def _attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().sum(1).flatten(1), dim=1)


@declare(compares="features", projects=True)
def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Match features through a learned 1x1 projection: mean((P s - t)^2) (Romero et al. 2015).

    Args:
        student: projected maps ``[batch, channels, height, width]``.
        teacher: maps with the same channels.
    """
    return F.mse_loss(*same_resolution(student, teacher))


@declare(compares="features")
def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Match which images look alike: norm(G_s - G_t)_F^2 / b^2 (Tung & Mori 2019, eq. 4).

    ``G`` is the Gram matrix of the batch's flattened features, each row divided by its L2 norm.

    Args:
        student: ``[batch, ...]``.
        teacher: ``[batch, ...]``, any other sizes.
    """
    return (_similarity(student) - _similarity(teacher)).square().mean()


def _similarity(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


DISTILLATION_LOSSES: Registry[DistillationLoss] = by_name(
    "distillation loss", soft_target, logits, attention_transfer, feature, similarity_preserving
)
"""Functions of what student and teacher put out; ``DISTILLATION_LOSSES.register`` adds another.

One that declares ``compares="features"`` is given maps ``[batch, channels, height, width]`` of
paired layers, and with ``projects=True`` those of the student through a learned 1x1 convolution;
others are given outputs, and ``temperature`` where they have such a parameter.
"""


def compares_features(loss: DistillationLoss) -> bool:
    """Return whether a loss compares features inside the networks, and not outputs."""
    return bool(declared(loss, "compares", default="outputs") == "features")


def has_temperature(loss: DistillationLoss) -> bool:
    """Return whether a loss takes a temperature."""
    return "temperature" in inspect.signature(loss).parameters


def has_projection(loss: DistillationLoss) -> bool:
    """Return whether a loss gets the student's maps through a learned projection."""
    return bool(declared(loss, "projects", default=False))
