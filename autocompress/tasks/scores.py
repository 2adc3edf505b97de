"""Scores made of functions, and of the metric objects of other libraries."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.intervals import Z, wilson


class Share:
    """The share of items for which a function is true, with its 95 % interval (Wilson 1927).

    Args:
        function: from outputs and targets of a batch to bool ``[batch]``.
        metric: what the share is.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor], metric: Metric) -> None:
        self.function = function
        self.metric = metric
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.true, self.n = 0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Count the items of a batch."""
        found = _per_item(self.function, outputs, targets, self.metric)
        self.true += int(found.bool().sum())
        self.n += len(found)

    def compute(self) -> Estimate:
        """Return the share over all batches since ``reset``."""
        _refuse_none(self.n, self.metric)
        share = self.true / self.n
        low, high = wilson(share, self.n)
        return Estimate(value=share, low=low, high=high, n=self.n)


class Mean:
    """The mean of one value per item, with its 95 % interval from the spread of the values.

    Args:
        function: from outputs and targets of a batch to numbers ``[batch]``.
        metric: what the mean is.

    Example:
        >>> metric = Metric(name="error", direction="minimize")
        >>> score = Mean(lambda outputs, targets: (outputs - targets).abs(), metric)
        >>> score.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        >>> score.compute().value
        1.0
    """

    def __init__(self, function: Callable[[Any, Any], Tensor], metric: Metric) -> None:
        self.function = function
        self.metric = metric
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.squares, self.n = 0.0, 0.0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Add the values of a batch."""
        values = _per_item(self.function, outputs, targets, self.metric).double()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())
        self.n += len(values)

    def compute(self) -> Estimate:
        """Return the mean over all batches since ``reset``."""
        _refuse_none(self.n, self.metric)
        mean = self.total / self.n
        if self.n == 1:
            return Estimate(value=mean, n=1)
        variance = max(0.0, self.squares - self.n * mean**2) / (self.n - 1)
        half = Z * sqrt(variance / self.n)
        return Estimate(value=mean, low=mean - half, high=mean + half, n=self.n)


def _per_item(
    function: Callable[[Any, Any], Tensor], outputs: Any, targets: Any, metric: Metric
) -> Tensor:
    values = function(outputs, targets)
    if not isinstance(values, Tensor) or values.ndim != 1:
        got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ConfigurationError(
            f"score {metric.name!r}: expected one value per item, a tensor [batch], not {got}"
        )
    return values


def _refuse_none(n: int, metric: Metric) -> None:
    if n == 0:
        raise ConfigurationError(f"score {metric.name!r}: there were no items to compute it over")


class _Wrapped:
    """A metric object of another library, as a score."""

    def __init__(self, wrapped: Any, metric: Metric) -> None:
        self.wrapped = wrapped
        self.metric = metric
        self.n = 0

    def reset(self) -> None:
        """Forget all batches."""
        self.wrapped.reset()
        self.n = 0

    def update(self, outputs: Any, targets: Any) -> None:
        """Hand a batch on, with the object on the device of the outputs."""
        tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
        if tensors and callable(getattr(self.wrapped, "to", None)):
            self.wrapped.to(tensors[0].device)
        self.wrapped.update(outputs, targets)
        self.n += len(tensors[0]) if tensors else len(outputs)

    def compute(self) -> Estimate:
        """Return what the object computes, as a number."""
        _refuse_none(self.n, self.metric)
        found = self.wrapped.compute()
        try:
            return Estimate(value=float(found), n=self.n)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigurationError(
                f"score {self.metric.name!r}: expected compute() of "
                f"{type(self.wrapped).__name__} to return one number, not {found!r:.80}"
            ) from None


def from_torchmetrics(wrapped: Any, metric: Metric) -> _Wrapped:
    """Make a score of a metric object of torchmetrics, or of anything that works alike.

    Args:
        wrapped: has ``update(outputs, targets)``, ``compute()``, which returns one number, and
            ``reset()``; it is moved to the device of the outputs where it has ``to``.
        metric: what the number is.

    Raises:
        ConfigurationError: a method is missing.
    """
    needed = ("update", "compute", "reset")
    missing = [name for name in needed if not callable(getattr(wrapped, name, None))]
    if missing:
        raise ConfigurationError(
            f"score {metric.name!r}: expected an object with update, compute and reset; "
            f"{type(wrapped).__name__} has no {', '.join(missing)}"
        )
    return _Wrapped(wrapped, metric)


def mean_iou_of(confusion: Tensor) -> float:
    """Return the mean over classes of intersection over union.

    Args:
        confusion: counts ``[classes, classes]``, rows are targets, columns predictions; classes
            that are neither predicted nor there are left out of the mean.
    """
    counts = confusion.double()
    hits = counts.diag()
    union = counts.sum(0) + counts.sum(1) - hits
    there = union > 0
    return float((hits[there] / union[there]).mean()) if bool(there.any()) else 0.0


class Confusion:
    """A number computed from the confusion matrix of all pixels of a split.

    Args:
        function: from the matrix, int64 ``[classes, classes]`` with targets as rows, to a number.
        metric: what the number is.
        classes: how many.
        ignore_index: target of pixels that do not count; ``None``: all count.
    """

    def __init__(
        self,
        function: Callable[[Tensor], float],
        metric: Metric,
        *,
        classes: int,
        ignore_index: int | None = None,
    ) -> None:
        self.function = function
        self.metric = metric
        self.classes = classes
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.matrix = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        self.n = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count the pixels of a batch.

        Args:
            outputs: scores of classes ``[batch, classes, ...]``.
            targets: int64 ``[batch, ...]``.
        """
        predicted, wanted = outputs.argmax(1).flatten(), targets.flatten()
        if self.ignore_index is not None:
            counted = wanted != self.ignore_index
            predicted, wanted = predicted[counted], wanted[counted]
        cells = torch.bincount(wanted * self.classes + predicted, minlength=self.classes**2)
        self.matrix += cells.view(self.classes, self.classes).cpu()
        self.n += len(targets)

    def compute(self) -> Estimate:
        """Return the number over all batches since ``reset``; ``n`` counts images.

        It has no interval: the pixels of an image are no independent draws.
        """
        _refuse_none(self.n, self.metric)
        return Estimate(value=self.function(self.matrix), n=self.n)


def share_of_diagonal(confusion: Tensor) -> float:
    """Return the fraction of pixels that are classified right."""
    return float(confusion.diag().sum()) / max(1, int(confusion.sum()))
