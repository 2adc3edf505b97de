"""The contract of a task catches tasks that break it."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from autocompress.metrics import Estimate, Metric
from autocompress.tasks import Task, classification
from autocompress.testing.tasks import check_task

OUTPUTS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


class Right:
    """Counts; each fault breaks it in one way."""

    metric = Metric(name="right", direction="maximize")

    def __init__(self, fault=None):
        self.fault = fault
        self.right, self.n, self.means = 0, 0, []

    def reset(self):
        if self.fault != "reset":
            self.right, self.n, self.means = 0, 0, []

    def update(self, outputs, targets):
        right = outputs.argmax(1) == targets
        self.means.append(right.float().mean().item())
        self.right += int(right[:1].sum() if self.fault == "order" else right.sum())
        self.n += len(targets)

    def compute(self):
        if self.fault == "number":
            return self.right / self.n
        value = self.right / self.n
        if self.fault == "mean of means":
            value = sum(self.means) / len(self.means)
        if self.fault == "infinite":
            value = float("inf")
        low = 2.0 if self.fault == "interval" else 0.0
        count = 1 if self.fault == "count" else self.n
        if self.fault == "consuming":
            self.right = 0
        return Estimate(value=value, low=low, high=3.0, n=count)


def test_a_task_that_keeps_it_passes():
    check_task(Task(loss=cross_entropy, scores=[Right()]), OUTPUTS, TARGETS)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reset", "counts 16 items again after reset|again after reset"),
        ("order", "in another order|batches"),
        ("mean of means", "in two batches of different size"),
        ("number", "returned float"),
        ("infinite", "right is inf"),
        ("interval", "outside its interval"),
        ("count", "counts 1 items of 8"),
        ("consuming", "changed what it computes from"),
    ],
)
def test_broken_scores_are_caught(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_task(Task(loss=cross_entropy, scores=[Right(fault)]), OUTPUTS, TARGETS)


def refusing(outputs, targets):
    raise ValueError("no")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": lambda outputs, _: outputs.square()}, "not a scalar"),
        ({"loss": lambda outputs, _: outputs.detach().sum()}, "no gradient"),
        ({"loss": lambda outputs, _: outputs.sum() / 0}, "the loss is"),
        ({"loss": lambda outputs, _: outputs.sum().item()}, "float, not a tensor"),
        ({"loss": lambda outputs, _: (outputs * 0).sum().sqrt()}, "gradient that is not finite"),
        ({"check": refusing}, "refuses a batch that fits: no"),
        ({"distilled": lambda outputs: outputs.sum(0)}, "3 rows of 8 items"),
        ({"distilled": lambda outputs: 1}, "distilled made int"),
        ({"outcomes": lambda outputs, _: outputs.argmax(1)}, "not bool"),
        ({"outcomes": lambda outputs, _: outputs > 0}, r"outcomes are \[8, 3\]"),
    ],
)
def test_broken_tasks_are_caught(changes, message):
    with pytest.raises(AssertionError, match=message):
        check_task(replace(classification(), **changes), OUTPUTS, TARGETS)
