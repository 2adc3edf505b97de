"""Scoring without training: accuracy of a model, and batch norms fitted to changed weights."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autocompress.data import Loader
from autocompress.measurement.lock import DeviceLock
from autocompress.metrics import Estimate
from autocompress.tasks import Task


@dataclass(frozen=True)
class Evaluation:
    """What a model reaches on one split.

    Attributes:
        accuracy: fraction of images whose highest output is their label, in [0, 1].
        loss: mean cross entropy, in nats.
        n: number of images.
    """

    accuracy: float
    loss: float
    n: int


def evaluate(model: nn.Module, loader: Loader, task: Task) -> dict[str, Estimate]:
    """Score a model on all images of a loader, in eval mode and without gradients.

    The model's training mode is as before afterwards.
    """
    was_training = model.training
    model.eval()
    found = score(model, loader)
    model.train(was_training)
    return {task.score.name: Estimate(value=found.accuracy, n=found.n)}


def score(run: Callable[[Tensor], Tensor], loader: Loader) -> Evaluation:
    """Score a function from images [n, channels, height, width] to outputs [n, classes]."""
    correct, loss, n = torch.zeros(()), torch.zeros(()), 0
    with torch.inference_mode():
        for images, labels in _sharing_device(loader):
            outputs = run(images).float()
            correct += (outputs.argmax(1) == labels).sum().cpu()
            loss += cross_entropy(outputs, labels, reduction="sum").cpu()
            n += len(labels)
    return Evaluation(float(correct) / n, float(loss) / n, n)


def reestimate_batch_norms(model: nn.Module, loader: Loader, *, batches: int = 50) -> None:
    """Recompute the running statistics of all batch norms over training batches, in place.

    A candidate that changed but does not train again would else be scored with the statistics
    of a different network (Li et al. 2020, EagleEye, arXiv:2007.02491, "adaptive batch norm").

    Args:
        model: edited in place; its training mode is as before afterwards.
        loader: training batches.
        batches: how many of them to use at most.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
        norm.train()
    with torch.no_grad():
        for images, _ in _sharing_device(islice(loader, batches)):
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


def _sharing_device(
    batches: Iterable[tuple[Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels; wait before a batch, as training does, while somebody measures."""
    for images, labels in batches:
        with DeviceLock(images.device).shared():
            yield _plain(images), _plain(labels)


def _plain(tensor: Tensor) -> Tensor:
    """Strip fastai's tensor subclass, which exists to draw pictures."""
    return tensor.as_subclass(Tensor)
