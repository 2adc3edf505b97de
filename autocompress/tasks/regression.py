"""Numbers for each item."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import mse_loss

from autocompress.metrics import Metric
from autocompress.tasks.classification import described
from autocompress.tasks.scores import Mean
from autocompress.tasks.task import Score, Task

ERROR = Metric(
    name="mean_absolute_error",
    direction="minimize",
    pick="accurate",
)


def regression(
    *, loss: Callable[[Any, Any], Tensor] | None = None, scores: Sequence[Score] = ()
) -> Task:
    """Return the task of predicting numbers: squared error as loss, absolute error as score.

    Outputs and targets are tensors ``[batch, ...]`` of one shape.

    Args:
        loss: from outputs and targets to a scalar; by default the mean squared error.
        scores: further ones, after the mean absolute error.
    """
    return Task(
        name="regression",
        loss=loss or _squared_error,
        scores=(Mean(_absolute_error, ERROR), *scores),
        check=check_shapes,
    )


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(outputs, targets.to(outputs))


def _absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets.to(outputs)).abs().reshape(len(targets), -1).mean(1)


def check_shapes(outputs: Any, targets: Any) -> None:
    """Check that outputs and targets are tensors of one shape.

    Raises:
        ValueError: they are not; it says what came.
    """
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"regression expects a tensor [batch, ...] as targets, not {described(targets)}"
        )
    if not isinstance(outputs, Tensor) or outputs.shape != targets.shape:
        hint = "; [batch] and [batch, 1] are different" if targets.ndim == 1 else ""
        raise ValueError(
            f"the model must return a tensor of the targets' shape {list(targets.shape)}, not "
            f"{described(outputs)}{hint}"
        )
