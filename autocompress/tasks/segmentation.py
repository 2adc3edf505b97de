"""One class per pixel."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate, Metric
from autocompress.tasks.classification import described, is_whole
from autocompress.tasks.scores import Confusion, mean_iou_of, share_of_diagonal
from autocompress.tasks.task import Score, Task
from autocompress.techniques.distillation import logits_of

MEAN_IOU = Metric(
    name="mean_iou",
    title="mean IoU",
    direction="maximize",
    format="fraction",
    comparison="difference",
    pick="accurate",
)
PIXEL_ACCURACY = Metric(
    name="pixel_accuracy", direction="maximize", format="fraction", comparison="difference"
)


class _OfMaps:
    """A score of the maps in a model's outputs, as torchvision's models return them under "out".

    Args:
        score: of a tensor ``[batch, classes, height, width]`` and targets.
    """

    def __init__(self, score: Confusion) -> None:
        self.score = score
        self.metric = score.metric

    def reset(self) -> None:
        """Forget all batches."""
        self.score.reset()

    def update(self, outputs: Any, targets: Tensor) -> None:
        """Add a batch."""
        self.score.update(maps_of(outputs), targets)

    def compute(self) -> Estimate:
        """Return the score over all batches since ``reset``."""
        return self.score.compute()


def maps_of(outputs: Any) -> Tensor:
    """Return a model's outputs, or what it names ``"out"``, or the first tensor in them."""
    return logits_of(outputs["out"] if isinstance(outputs, dict) and "out" in outputs else outputs)


def segmentation(
    classes: int,
    ignore_index: int | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    scores: Sequence[Score] = (),
) -> Task:
    """Return the task of classifying every pixel: cross entropy, mean IoU, pixel accuracy.

    Outputs are ``[batch, classes, height, width]`` (or a dictionary with them under ``"out"``,
    as torchvision's models return), targets int64 ``[batch, height, width]``. Both scores come
    from one confusion matrix over all pixels of a split.

    Args:
        classes: how many there are, at least 2.
        ignore_index: target of pixels that do not count, such as 255.
        loss: from the model's outputs and targets to a scalar; by default the cross entropy in
            nats.
        scores: further ones.

    Raises:
        ConfigurationError: there are fewer than two classes, or ``ignore_index`` is one of them.
    """
    if classes < 2:
        raise ConfigurationError(f"classes: expected at least 2, not {classes}")
    if ignore_index is not None and 0 <= ignore_index < classes:
        raise ConfigurationError(
            f"ignore_index: expected a number that is no class (0 to {classes - 1}), not "
            f"{ignore_index}"
        )

    def of_pixels(outputs: Any, targets: Tensor) -> Tensor:
        ignored = -100 if ignore_index is None else ignore_index  # -100: PyTorch's default
        return cross_entropy(maps_of(outputs), targets, ignore_index=ignored)

    def check(outputs: Any, targets: Any) -> None:
        check_maps(outputs, targets, classes=classes, ignore_index=ignore_index)

    counted = [
        _OfMaps(Confusion(function, metric, classes=classes, ignore_index=ignore_index))
        for function, metric in ((mean_iou_of, MEAN_IOU), (share_of_diagonal, PIXEL_ACCURACY))
    ]
    return Task(
        name="segmentation",
        loss=loss or of_pixels,
        scores=(*counted, *scores),
        distilled=maps_of,
        check=check,
        classes=classes,
    )


def check_maps(outputs: Any, targets: Any, *, classes: int, ignore_index: int | None) -> None:
    """Check that there is one output per class, and one class as target, for each pixel.

    Raises:
        ValueError: there is not; it says what came.
    """
    if not isinstance(targets, Tensor) or targets.ndim != 3 or not is_whole(targets):
        raise ValueError(
            "segmentation expects one class per pixel as targets, whole numbers "
            f"[batch, height, width], not {described(targets)}"
        )
    n, height, width = targets.shape
    wanted = [n, classes, height, width]
    named = outputs["out"] if isinstance(outputs, dict) and "out" in outputs else outputs
    if not isinstance(named, Tensor) or list(named.shape) != wanted:
        raise ValueError(
            f"for {n} masks of {height} x {width} pixels the model must return class scores of "
            f"shape {wanted}, or a dictionary with them as 'out', not {described(named)}; smaller "
            "maps must be interpolated in the model"
        )
    counted = targets if ignore_index is None else targets[targets != ignore_index]
    if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < classes:
        raise ValueError(
            f"masks hold {int(counted.min())} to {int(counted.max())}, and classes are 0 to "
            f"{classes - 1}; pixels that do not count need ignore_index"
        )
