"""A task is a value: the loss that trains a model, and the scores that judge it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from autocompress.metrics import Estimate, Metric


@runtime_checkable
class Score(Protocol):
    """Collects outputs and targets batch by batch, and computes one number over all of them.

    Attributes:
        metric: what the number is: name, direction, format.
    """

    metric: Metric

    def reset(self) -> None:
        """Forget all batches."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Add a batch: what the model returned, and what the data says."""

    def compute(self) -> Estimate:
        """Return the score over all batches since ``reset``."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model is trained and judged for.

    Attributes:
        name: for messages and documents.
        loss: from outputs and targets of a batch to a scalar, averaged over the batch.
        scores: at least one; the first is the one that decides (early stopping, picks, curves).
        distilled: what of the model's outputs a student imitates, as a tensor
            ``[batch, channels, ...]``.
        check: raises ``ValueError`` where outputs do not fit targets, in the user's terms.
        outcomes: right or wrong for each item of a batch, bool ``[batch]``; ``None`` where the
            score is no proportion.
    """

    name: str = "custom"
    loss: Callable[[Any, Any], Tensor]
    scores: Sequence[Score]
    distilled: Callable[[Any], Tensor] | None = None
    check: Callable[[Any, Any], None] | None = None
    outcomes: Callable[[Any, Any], Tensor] | None = None

    @property
    def score(self) -> Metric:
        """The metric that decides."""
        return self.scores[0].metric
