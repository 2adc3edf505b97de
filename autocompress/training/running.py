"""What every training run needs, as fastai callbacks: an end, reports, and a shared device."""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from fastai.callback.core import Callback, CancelFitException

from autocompress.targets.lock import DeviceLock
from autocompress.tasks import Score


class StopOnNaN(Callback):
    """End a fit whose loss is no longer a number; ``stopped`` says whether it happened."""

    order = 20  # after everything that changes the loss, such as a teacher
    stopped = False

    def after_loss(self) -> None:
        """Cancel the fit at the first loss that is not finite."""
        if self.training and not bool(torch.isfinite(self.learn.loss)):
            self.stopped = True
            raise CancelFitException


class StopAfter(Callback):
    """Leave a fit after so many epochs; ``None`` never does."""

    order = 80  # after everything that looks at the epoch

    def __init__(self, epochs: int | None) -> None:
        super().__init__()
        self.epochs = epochs

    def after_epoch(self) -> None:
        """Cancel the fit when the epoch was the last one wanted."""
        if self.epochs is not None and self.learn.epoch + 1 >= self.epochs:
            raise CancelFitException


class Report(Callback):
    """Call a function before each batch, and one after each epoch.

    Args:
        score: is computed over each validation pass.
        on_batch: takes nothing.
        on_epoch: takes epoch (from 0), train loss, valid loss and score.
    """

    order = 70  # after fastai's Recorder

    def __init__(
        self,
        score: Score,
        on_batch: Callable[[], None],
        on_epoch: Callable[[int, float, float, float], None],
    ) -> None:
        super().__init__()
        self.score = score
        self.on_batch = on_batch
        self.on_epoch = on_epoch

    def before_batch(self) -> None:
        """Report the batch that begins."""
        self.on_batch()

    def before_validate(self) -> None:
        """Forget the last validation pass."""
        self.score.reset()

    def after_batch(self) -> None:
        """Score a validation batch."""
        if not self.training:
            self.score.update(self.learn.pred, self.learn.yb[0])

    def after_epoch(self) -> None:
        """Report the epoch that ended."""
        train_loss, valid_loss = self.learn.recorder.smooth_loss, self.learn.recorder.loss
        score = self.score.compute().value
        self.on_epoch(self.learn.epoch, float(train_loss.value), float(valid_loss.value), score)


class ShareDevice(Callback):
    """Hold the device together with other training runs, batch by batch.

    A measurement that waits for the device alone gets it between two batches.
    """

    order = -100  # before anything computes

    def __init__(self, lock: DeviceLock) -> None:
        super().__init__()
        self.lock = lock
        self.held = ExitStack()

    def before_batch(self) -> None:
        """Wait while somebody measures."""
        self.held.enter_context(self.lock.shared())

    def after_batch(self) -> None:
        """Let somebody measure."""
        self.held.close()

    close = after_batch
