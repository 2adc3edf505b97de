"""One class per item."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from autocompress.errors import ConfigurationError
from autocompress.metrics import Metric
from autocompress.tasks.scores import Share
from autocompress.tasks.task import Score, Task

ACCURACY = Metric(
    name="accuracy",
    direction="maximize",
    format="fraction",
    comparison="difference",
    pick="accurate",
)


def classification(
    classes: int | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    scores: Sequence[Score] = (),
) -> Task:
    """Return the task of choosing classes: cross entropy, and the share of right answers.

    Outputs are ``[batch, classes]``, one number per class, and targets int64 ``[batch]``.

    Args:
        classes: how many there are, at least 2; ``None``: as many as the data has.
        loss: from outputs and targets to a scalar; by default the cross entropy in nats.
        class_weights: weight of each class in the cross entropy, at least 0.
        label_smoothing: share in [0, 1) of the target that is spread over all classes
            (Szegedy et al. 2016).
        scores: further ones, after the accuracy.

    Raises:
        ConfigurationError: a number is out of its range, or a loss is given together with
            settings of the cross entropy.

    Example:
        >>> task = classification(3)
        >>> task.scores[0].update(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> round(task.scores[0].compute().value, 3)
        0.667
    """
    _refuse(classes, loss, class_weights, label_smoothing)
    if loss is None:
        weights = None if class_weights is None else torch.tensor(class_weights)
        loss = partial(_weighted, weights=weights, label_smoothing=label_smoothing)
    return Task(
        name="classification",
        loss=loss,
        scores=(Share(is_right, ACCURACY), *scores),
        check=partial(check_classes, classes=classes),
        outcomes=is_right,
        classes=classes or 0,
    )


def _weighted(
    outputs: Tensor, targets: Tensor, *, weights: Tensor | None, label_smoothing: float
) -> Tensor:
    if weights is not None:
        weights = weights.to(outputs)
    return cross_entropy(outputs, targets, weight=weights, label_smoothing=label_smoothing)


def is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each item whether its highest output is its target, bool ``[batch]``."""
    return outputs.argmax(1) == targets


def check_classes(outputs: Any, targets: Any, *, classes: int | None = None) -> None:
    """Check that there is one output per class for each item, and one class as its target.

    Raises:
        ValueError: there is not; it says what came.
    """
    number = "classes" if classes is None else str(classes)
    if not isinstance(targets, Tensor) or targets.ndim != 1 or not is_whole(targets):
        raise ValueError(
            "classification expects one class per item as targets, whole numbers [batch], not "
            f"{described(targets)}"
        )
    fits = isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == len(targets)
    if not fits or classes not in (None, outputs.shape[1]):
        raise ValueError(
            f"for {len(targets)} items the model must return class scores of shape "
            f"[{len(targets)}, {number}], not {described(outputs)}"
        )
    low, high = (int(targets.min()), int(targets.max())) if len(targets) else (0, 0)
    if low < 0 or high >= outputs.shape[1]:
        raise ValueError(
            f"targets from {low} to {high} do not fit outputs for {outputs.shape[1]} classes, "
            f"which are 0 to {outputs.shape[1] - 1}"
        )


def is_whole(tensor: Tensor) -> bool:
    """Return whether a tensor holds whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def described(value: Any) -> str:
    """Describe a value in a message: a tensor by its shape and type, others by their type."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} ({str(value.dtype).removeprefix('torch.')})"
    if isinstance(value, dict):
        return f"a dictionary with {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def _refuse(
    classes: int | None, loss: Any, weights: Sequence[float] | None, smooth: float
) -> None:
    problems = []
    if classes is not None and classes < 2:
        problems.append(f"classes: expected at least 2, not {classes}")
    if loss is not None and (weights is not None or smooth):
        problems.append("loss: a loss of your own has no class_weights and no label_smoothing")
    if weights is not None and (not len(weights) or min(weights) < 0):
        problems.append(f"class_weights: expected numbers of at least 0, not {list(weights)}")
    if weights is not None and classes is not None and len(weights) != classes:
        problems.append(
            f"class_weights: expected one for each of {classes} classes, not {len(weights)}"
        )
    if not 0 <= smooth < 1:
        problems.append(f"label_smoothing: expected a number in [0, 1), not {smooth!r}")
    if problems:
        raise ConfigurationError(problems)
