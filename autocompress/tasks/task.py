"""A task is a value: the loss that trains a model, and the scores that it is evaluated by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate, Metric
from autocompress.techniques.distillation import logits_of


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
    """What a model is trained for and evaluated by.

    Attributes:
        name: for messages and documents.
        loss: from outputs and targets of a batch to a scalar, averaged over the batch.
        scores: at least one; the first is the one that decides (early stopping, picks, curves).
        distilled: what of the model's outputs a student imitates, as a tensor
            ``[batch, channels, ...]``; by default the outputs, or the first tensor in them.
        check: raises ``ValueError`` where outputs do not fit targets, in the user's terms.
        outcomes: right or wrong for each item of a batch, bool ``[batch]``; ``None`` where the
            score is no proportion.
        classes: of how many classes the targets are indices; 0: of as many as the data has;
            ``None``: the targets are no classes.

    Raises:
        ConfigurationError: there is no score, or two have one name.

    Example:
        >>> from torch.nn.functional import l1_loss
        >>> from autocompress.metrics import Metric
        >>> from autocompress.tasks import Mean
        >>> error = Metric(name="depth_error", direction="minimize", unit="m")
        >>> per_item = lambda outputs, targets: (outputs - targets).abs().flatten(1).mean(1)
        >>> Task(name="depth", loss=l1_loss, scores=[Mean(per_item, error)]).score.name
        'depth_error'
    """

    name: str = "custom"
    loss: Callable[[Any, Any], Tensor]
    scores: Sequence[Score]
    distilled: Callable[[Any], Tensor] | None = logits_of
    check: Callable[[Any, Any], None] | None = None
    outcomes: Callable[[Any, Any], Tensor] | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        """Check the scores."""
        if not isinstance(self.scores, list | tuple):
            raise ConfigurationError(
                f"task {self.name!r}: scores: expected a list, not {type(self.scores).__name__}"
            )
        for score in self.scores:
            if isinstance(score, type) or not isinstance(score, Score):
                what = getattr(score, "__name__", type(score).__name__)
                raise ConfigurationError(
                    f"task {self.name!r}: scores: {what} has no metric, reset, update and "
                    "compute; autocompress.Mean(function, metric) and Share make a score of a "
                    "function with one value per item"
                )
        names = [score.metric.name for score in self.scores]
        if not names or len(names) != len(set(names)):
            raise ConfigurationError(
                f"task {self.name!r}: expected at least one score, each with a name of its own, "
                f"not {', '.join(names) or 'none'}"
            )

    @property
    def score(self) -> Metric:
        """The metric that decides."""
        return self.scores[0].metric
