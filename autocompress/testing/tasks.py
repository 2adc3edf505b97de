"""The contract of a task."""

import copy
from collections.abc import Callable, Sequence
from math import isclose, isfinite
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from autocompress.metrics import Estimate
from autocompress.tasks import Score, Task

TOLERANCE = 1e-5  # relative: scores may add in float32


def check_task(task: Task, outputs: Any, targets: Any) -> None:
    """Check that a task keeps its contract on a batch.

    The loss is a finite scalar with a gradient. Scores depend neither on the order of the items
    nor on how they are cut into batches, ``reset`` forgets, and ``compute`` changes nothing.
    ``check`` accepts the batch, ``distilled`` makes a tensor, ``outcomes`` one bool per item.

    Args:
        task: the implementation.
        outputs: what a model might return for a batch of at least four items: tensors
            ``[batch, ...]``, or tuples, lists and dictionaries of them.
        targets: what the data says of that batch, in the same way.

    Raises:
        AssertionError: something is not as promised; the message says what.

    Example:
        >>> from autocompress.tasks import classification
        >>> check_task(classification(3), torch.randn(8, 3), torch.arange(8) % 3)
    """
    count = len(_tensors(outputs)[0])
    assert count >= 4, f"give a batch of at least four items, not {count}"
    _check_loss(task, outputs, targets)
    for score in task.scores:
        _check_score(score, outputs, targets, count)
    assert task.score is task.scores[0].metric
    if task.check is not None:
        try:
            task.check(outputs, targets)
        except ValueError as error:
            raise AssertionError(f"check refuses a batch that fits: {error}") from error
    if task.distilled is not None:
        distilled = task.distilled(outputs)
        assert isinstance(distilled, Tensor), f"distilled made {type(distilled).__name__}"
        assert len(distilled) == count, f"distilled made {len(distilled)} rows of {count} items"
    if task.outcomes is not None:
        outcomes = task.outcomes(outputs, targets)
        assert outcomes.dtype == torch.bool, f"outcomes are {outcomes.dtype}, not bool"
        assert list(outcomes.shape) == [count], f"outcomes are {list(outcomes.shape)}"


def _check_loss(task: Task, outputs: Any, targets: Any) -> None:
    fresh = tree_map(_with_gradient, outputs)
    loss = task.loss(fresh, targets)
    assert isinstance(loss, Tensor), f"the loss is {type(loss).__name__}, not a tensor"
    assert loss.numel() == 1, f"the loss is {list(loss.shape)}, not a scalar"
    assert bool(torch.isfinite(loss)), f"the loss is {loss.item()}"
    assert loss.requires_grad, "the loss does not depend on the outputs: it has no gradient"
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [leaf.grad for leaf in _tensors(fresh) if leaf.grad is not None]
    assert gradients, "no output receives a gradient from the loss"
    for gradient in gradients:
        assert bool(torch.isfinite(gradient).all()), "the loss has a gradient that is not finite"


def _check_score(score: Score, outputs: Any, targets: Any, count: int) -> None:
    name = score.metric.name
    at_once = _computed(score, [(outputs, targets)])
    assert isfinite(at_once.value), f"{name} is {at_once.value}"
    if at_once.low is not None and at_once.high is not None:
        assert at_once.low <= at_once.value <= at_once.high, f"{name} lies outside its interval"
    assert at_once.n == count, f"{name} counts {at_once.n} items of {count}"
    take = _taker(outputs, targets)
    items = list(range(count))
    cuts: dict[str, Sequence[Sequence[int]]] = {
        "again after reset": [items],
        "in another order": [items[::-1]],
        "in two batches of different size": [items[:1], items[1:]],
        "in many batches": [[item] for item in items],
        "in many batches in another order": [[item] for item in items[::-1]],
    }
    for case, batches in cuts.items():
        found = _computed(score, [take(batch) for batch in batches])
        same = isclose(found.value, at_once.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        assert same, f"{name} is {found.value} {case}, and {at_once.value} at once"
        assert found.n == at_once.n, f"{name} counts {found.n} items {case}, not {at_once.n}"
    again = score.compute()
    assert again.value == found.value, f"{name}: compute() changed what it computes from"


def _computed(score: Score, batches: Sequence[tuple[Any, Any]]) -> Estimate:
    score.reset()
    for outputs, targets in batches:
        score.update(*copy.deepcopy((outputs, targets)))
    found = score.compute()
    name = score.metric.name
    assert isinstance(found, Estimate), f"{name}.compute() returned {type(found).__name__}"
    return found


def _taker(outputs: Any, targets: Any) -> Callable[[Sequence[int]], tuple[Any, Any]]:
    def take(indices: Sequence[int]) -> tuple[Any, Any]:
        def rows(leaf: Any) -> Any:
            return leaf.detach()[list(indices)] if isinstance(leaf, Tensor) else leaf

        return tree_map(rows, outputs), tree_map(rows, targets)

    return take


def _tensors(tree: Any) -> list[Tensor]:
    found = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    assert found, "the outputs hold no tensor"
    return found


def _with_gradient(leaf: Any) -> Any:
    if isinstance(leaf, Tensor) and leaf.is_floating_point():
        return leaf.detach().clone().requires_grad_()
    return leaf
