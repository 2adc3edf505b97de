"""One training run: fastai's Learner with a fresh optimizer and our callbacks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fastai.data.core import DataLoaders
from fastai.learner import CastToTensor, Learner, Recorder, TrainEvalCallback
from torch import nn

from autocompress.data import Data
from autocompress.data.randomness import seed_everything
from autocompress.errors import DivergedError
from autocompress.results import EpochRecord
from autocompress.settings import check, setting
from autocompress.short_repr import short_repr
from autocompress.targets.lock import DeviceLock
from autocompress.tasks import Task
from autocompress.training.layout import LayOut, common_layout, fastest_layout
from autocompress.training.precision import Bfloat16, trains_in_bfloat16
from autocompress.training.running import Report, ShareDevice, StopAfter, StopOnNaN

__all__ = ["EpochRecord", "Fit", "Monitor", "Training", "fit", "seed_everything"]


@short_repr
@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Attributes:
        epochs: length of the training run in which a candidate is distilled and sparsified.
        recovery_epochs: length of the fine-tuning after surgery; 0 leaves it out.
        stop_after: leave the first run after so many of its epochs, at the sparsity that the
            schedule has reached by then; ``None`` trains to its end.
        learning_rate: peak of the one-cycle schedule (Smith 2018, arXiv:1803.09820).
        recovery_learning_rate: peak for the recovery, as a fraction of ``learning_rate``.
        weight_decay: decoupled weight decay of Adam.
    """

    epochs: int = setting(
        6, help="epochs of the run that distils and sparsifies", low=0, high=10_000
    )
    recovery_epochs: int = setting(2, help="epochs after surgery", low=0, high=10_000)
    learning_rate: float = setting(
        2e-3, help="peak learning rate of the first run", low=0, above=True, high=10
    )
    recovery_learning_rate: float = setting(
        0.5,
        help="peak in the recovery, as a fraction of learning_rate",
        low=0,
        above=True,
        high=10,
        active=lambda values: values["recovery_epochs"] > 0,
    )
    weight_decay: float = setting(0.01, help="decoupled weight decay", low=0, high=1)
    stop_after: int | None = setting(
        None, help="leave the first run after so many of its epochs", low=1
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _stops_in_time)

    @property
    def main(self) -> "Fit":
        """The training run in which a candidate is distilled and sparsified."""
        rate, decay = self.learning_rate, self.weight_decay
        return Fit("train", self.epochs, rate, decay, stop_after=self.stop_after)

    @property
    def recovery(self) -> "Fit":
        """The fine-tuning after surgery."""
        peak = self.learning_rate * self.recovery_learning_rate
        return Fit("recover", self.recovery_epochs, peak, self.weight_decay)


def _stops_in_time(stop_after: int | None, epochs: int) -> str:
    if stop_after is None or stop_after <= epochs:
        return ""
    return f"stop_after: expected at most epochs ({epochs}), got {stop_after}"


@dataclass(frozen=True)
class Fit:
    """One training run.

    All schedules are those of ``epochs``, also where the run is left after fewer.

    Attributes:
        stage: its name in the curve.
        epochs: its length; 0 trains nothing.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: decoupled weight decay of Adam.
        stop_after: leave the run after so many epochs; ``None`` trains to its end.
        layout: memory layout of networks and images, if the networks can be trained in it;
            ``None``: the fastest on the device.
        bfloat16: whether batches are computed in bfloat16; ``None``: where the device does so in
            hardware.
    """

    stage: str
    epochs: int
    learning_rate: float
    weight_decay: float
    stop_after: int | None = None
    layout: torch.memory_format | None = None
    bfloat16: bool | None = None


class Monitor:
    """Receives what happens in a training run; override what is wanted."""

    def batch(self) -> None:
        """Receive that a batch begins; what this raises ends the training."""

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Receive an epoch that ended, and the model as it is; what this raises ends it too."""


def fit(
    model: nn.Module,
    data: Data,
    task: Task,
    run: Fit,
    *,
    seed: int,
    callbacks: Sequence[Any] = (),
    monitor: Monitor | None = None,
) -> tuple[EpochRecord, ...]:
    """Train a model in place for some epochs and return its curve.

    Every call makes a new optimizer from the parameters that the model has now, so that
    training after surgery moves the parameters that are there, and nothing else.

    Args:
        model: trained in place, on the device of the data, and left in the layout of the run,
            like the ``teacher`` of each callback that has one.
        data: training and validation batches.
        task: its loss is trained, and its first score is computed after each epoch.
        run: name, epochs, peak learning rate and weight decay.
        seed: what order and augmentation of the training batches derive from. Dropout draws from
            torch's global generator: see :func:`seed_everything`.
        callbacks: fastai callbacks, closed also when training fails.
        monitor: receives each batch and each epoch.

    Raises:
        DivergedError: the loss or the score became infinite or NaN.
    """
    if run.epochs == 0:
        return ()
    monitor = monitor or Monitor()
    curve: list[EpochRecord] = []

    def record(epoch: int, train_loss: float, valid_loss: float, score: float) -> None:
        point = EpochRecord(
            stage=run.stage,
            epoch=epoch + 1,
            train_loss=train_loss,
            valid_loss=valid_loss,
            score=score,
        )
        if not all(map(math.isfinite, (train_loss, valid_loss, score))):
            raise DivergedError(
                f"epoch {epoch + 1} of {run.stage}: expected finite numbers, got training loss "
                f"{train_loss}, validation loss {valid_loss} and score {score}"
            )
        curve.append(point)
        monitor.epoch(point, model)

    teachers = [c.teacher for c in callbacks if isinstance(getattr(c, "teacher", None), nn.Module)]
    wanted = run.layout or fastest_layout(data.device)
    layout = common_layout([model, *teachers], data.example, wanted)
    for network in (model, *teachers):
        network.to(memory_format=layout)
    guard, closed = StopOnNaN(), [ShareDevice(DeviceLock(data.device)), *callbacks]
    if trains_in_bfloat16(data.device) if run.bfloat16 is None else run.bfloat16:
        closed.append(Bfloat16(data.device))
    own = [TrainEvalCallback(), Recorder(add_time=False), CastToTensor(), guard, LayOut(layout)]
    report = Report(task.scores[0], monitor.batch, record)
    learner = Learner(
        DataLoaders(data.train(seed), data.valid, device=None),
        model,
        loss_func=task.loss,
        cbs=[*own, *closed, report, StopAfter(run.stop_after)],
        default_cbs=False,
    )
    try:
        with learner.no_logging():
            learner.fit_one_cycle(run.epochs, run.learning_rate, wd=run.weight_decay)
    finally:
        for callback in closed:
            if hasattr(callback, "close"):
                callback.close()
    if guard.stopped:
        raise DivergedError(
            f"the loss became NaN or infinite in epoch {len(curve) + 1} of {run.stage}; "
            "a lower learning rate may help"
        )
    return tuple(curve)
