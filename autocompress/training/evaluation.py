"""Scoring without training: the task's scores, and batch norms fitted to changed weights."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autocompress.data import Loader
from autocompress.errors import failing_as
from autocompress.metrics import Estimate
from autocompress.targets.lock import DeviceLock
from autocompress.tasks import Score, Task

Forward = nn.Module | Callable[[Tensor], Any]
"""From inputs of a batch to outputs as the task knows them."""
NORM_BATCHES = 50  # from which the statistics of batch norms are computed


def evaluate(run: Forward, loader: Loader, task: Task) -> dict[str, Estimate]:
    """Compute every score of a task over all items of a loader, in one pass.

    Outputs in half precision are scored in float32.

    Args:
        run: a network, which computes in eval mode and is in its own mode afterwards; or any
            function, such as a deployed model.
        loader: batches of a split.
        task: its scores are reset and used.

    Returns:
        The scores by the names of their metrics, in the order of the task.
    """
    if not isinstance(run, nn.Module):
        return _scores(run, loader, task)
    was_training = run.training
    run.eval()
    try:
        return _scores(run, loader, task)
    finally:
        run.train(was_training)


def _scores(run: Forward, loader: Loader, task: Task) -> dict[str, Estimate]:
    for score in task.scores:
        score.reset()
    with torch.inference_mode():
        for inputs, targets in _sharing_device(loader):
            outputs = _comparable(run(inputs), inputs.device)
            for score in task.scores:
                with _naming(score):
                    score.update(outputs, targets)
    found = {}
    for score in task.scores:
        with _naming(score):
            found[score.metric.name] = score.compute()
    return found


def _naming(score: Score) -> AbstractContextManager[None]:
    """Say which score it is that fails."""
    return failing_as("evaluate", f"the score {score.metric.name!r}")


def _comparable(outputs: Any, device: torch.device) -> Any:
    """Bring outputs to the device of the targets, and from half precision to float32."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device, torch.float32 if leaf.is_floating_point() else leaf.dtype)

    return tree_map(moved, outputs)


def reestimate_batch_norms(model: nn.Module, loader: Loader) -> None:
    """Recompute the running statistics of all batch norms over training batches, in place.

    A candidate that changed but does not train again would else be scored with the statistics
    of a different network (Li et al. 2020, EagleEye, arXiv:2007.02491, "adaptive batch norm").

    Args:
        model: edited in place; its training mode is as before afterwards.
        loader: training batches, of which the first ``NORM_BATCHES`` are used.
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
        for inputs, _ in _sharing_device(islice(loader, NORM_BATCHES)):
            model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


def _sharing_device(batches: Iterable[tuple[Tensor, Any]]) -> Iterator[tuple[Tensor, Any]]:
    """Yield batches as plain tensors; wait before one, as training does, while others measure."""
    for inputs, targets in batches:
        with DeviceLock(inputs.device).shared():
            yield inputs.as_subclass(Tensor), tree_map(_plain, targets)


def _plain(leaf: Any) -> Any:
    """Strip fastai's tensor subclass, which exists to draw pictures."""
    return leaf.as_subclass(Tensor) if isinstance(leaf, Tensor) else leaf
