import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from autocompress.errors import ConfigurationError, UsageError
from autocompress.metrics import Metric
from autocompress.metrics.intervals import wilson
from autocompress.tasks import (
    TASKS,
    Mean,
    Share,
    Task,
    classification,
    from_torchmetrics,
    regression,
    segmentation,
)
from autocompress.testing.tasks import check_task

ERROR = Metric(name="error", direction="minimize")


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def some_classes(*shape, classes=4):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(1))


class Torchmetrics:
    """As torchmetrics' objects are."""

    def __init__(self):
        self.reset()

    def to(self, device):
        self.device = torch.device(device)

    def reset(self):
        self.right, self.seen = torch.tensor(0.0), 0

    def update(self, outputs, targets):
        assert self.device == outputs.device
        self.right += (outputs.argmax(1) == targets).sum()
        self.seen += len(targets)

    def compute(self):
        return self.right / self.seen


CASES = {
    "classification": (classification(), numbers(9, 4), some_classes(9)),
    "weighted": (
        classification(4, class_weights=[1.0, 2.0, 0.5, 1.0], label_smoothing=0.1),
        numbers(9, 4),
        some_classes(9),
    ),
    "segmentation": (segmentation(4), numbers(5, 4, 6, 7), some_classes(5, 6, 7)),
    "ignoring": (
        segmentation(3, 255),
        {"out": numbers(5, 3, 6, 7), "aux": numbers(5, 3, 6, 7)},
        torch.where(some_classes(5, 6, 7) == 3, 255, some_classes(5, 6, 7)),
    ),
    "regression": (regression(), numbers(9, 2), numbers(9, 2).abs()),
    "one number": (regression(), numbers(9), numbers(9).abs()),
    "torchmetrics": (
        Task(
            loss=cross_entropy,
            scores=[from_torchmetrics(Torchmetrics(), Metric(name="own", direction="maximize"))],
        ),
        numbers(9, 4),
        some_classes(9),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_contract_is_kept(name):
    check_task(*CASES[name])


def test_tasks_are_known_by_name():
    assert list(TASKS) == ["classification", "segmentation", "regression"]
    with pytest.raises(ConfigurationError, match=r"unknown task 'segmentaton'.*'segmentation'"):
        TASKS["segmentaton"]


def test_accuracy_is_the_share_that_is_right_with_its_interval():
    task = classification(3)
    outputs = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])]
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0, 2, 2, 1])
    task.scores[0].update(outputs, targets)
    found = task.scores[0].compute()
    assert (found.value, found.n) == (0.8, 10)
    assert (found.low, found.high) == wilson(0.8, 10)
    assert task.outcomes(outputs, targets).tolist() == [True] * 7 + [False, True, False]
    assert task.score.drop_name == "accuracy_drop"
    assert task.score.pick == "accurate"


def test_the_interval_is_wilsons():
    low, high = wilson(0.9, 100)
    assert (low, high) == pytest.approx((0.8256343, 0.9447708), abs=1e-6)
    assert wilson(0.0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(1.0, 10)[1] == pytest.approx(1, abs=1e-12)


def test_mean_iou_is_that_of_all_pixels_together():
    task = segmentation(3, ignore_index=9)
    masks = torch.tensor([[[0, 0, 1, 9]], [[1, 1, 0, 0]]])
    predicted = torch.tensor([[[0, 1, 1, 2]], [[1, 1, 0, 1]]])
    outputs = torch.nn.functional.one_hot(predicted, 3).permute(0, 3, 1, 2).float()
    for score in task.scores:
        for batch in range(2):
            score.update(outputs[batch : batch + 1], masks[batch : batch + 1])
    iou, accuracy = (score.compute() for score in task.scores)
    # class 0: 2 of 4 pixels in the union, class 1: 3 of 5; class 2 is nowhere but where ignored
    assert iou.value == pytest.approx((2 / 4 + 3 / 5) / 2)
    assert (accuracy.value, accuracy.n, accuracy.low) == (pytest.approx(5 / 7), 2, None)
    assert task.loss(outputs, masks) == pytest.approx(
        cross_entropy(outputs, masks, ignore_index=9)
    )


def test_a_mean_has_the_interval_of_its_spread():
    score = Mean(lambda outputs, targets: (outputs - targets).abs(), ERROR)
    values = torch.tensor([1.0, 2.0, 3.0, 6.0])
    score.update(values, torch.zeros(4))
    found = score.compute()
    half = 1.959963984540054 * values.double().std().item() / 2
    assert found.value == 3
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    score.reset()
    score.update(torch.tensor([2.0]), torch.zeros(1))
    assert (score.compute().value, score.compute().low) == (2, None)


def test_weights_and_smoothing_reach_the_cross_entropy():
    outputs, targets = numbers(9, 4), some_classes(9)
    weights = [1.0, 2.0, 0.5, 1.0]
    task = classification(4, class_weights=weights, label_smoothing=0.1)
    expected = cross_entropy(outputs, targets, torch.tensor(weights), label_smoothing=0.1)
    assert torch.equal(task.loss(outputs, targets), expected)
    assert torch.equal(classification().loss(outputs, targets), cross_entropy(outputs, targets))


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "message"),
    [
        (classification(10), torch.zeros(4, 7), torch.arange(4),
         r"for 4 items the model must return class scores of shape \[4, 10\], not \[4, 7\]"),
        (classification(), torch.zeros(4, 7, 2), torch.arange(4), r"\[4, classes\], not"),
        (classification(), (torch.zeros(4, 7),), torch.arange(4), "not a tuple of 1"),
        (classification(), torch.zeros(4, 2), torch.arange(4), "targets from 0 to 3 do not fit"),
        (classification(), torch.zeros(4, 2), torch.zeros(4), r"whole numbers \[batch\], not \[4"),
        (segmentation(3), torch.zeros(2, 3, 4, 4), torch.zeros(2, 8, 8).long(),
         r"shape \[2, 3, 8, 8\].*not \[2, 3, 4, 4\].*; smaller maps must be interpolated"),
        (segmentation(3), {"mask": torch.zeros(2, 3, 8, 8)}, torch.zeros(2, 8, 8).long(),
         "not a dictionary with mask"),
        (segmentation(3), torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8), "one class per pixel"),
        (segmentation(3), torch.zeros(1, 3, 1, 2), torch.tensor([[[1, 255]]]),
         "masks hold 1 to 255, .* need ignore_index"),
        (regression(), torch.zeros(4, 1), torch.zeros(4), r"shape \[4\], not \[4, 1\].*different"),
        (regression(), torch.zeros(4), [1, 2, 3, 4], "as targets, not a list of 4"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_fit_are_reported(task, outputs, targets, message):
    with pytest.raises(ValueError, match=message):
        task.check(outputs, targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classification(1), "classes: expected at least 2, not 1"),
        (lambda: classification(3, class_weights=[1, 1]), "one for each of 3 classes, not 2"),
        (lambda: classification(label_smoothing=1.0), r"number in \[0, 1\), not 1.0"),
        (lambda: classification(loss=cross_entropy, label_smoothing=0.1), "a loss of your own"),
        (lambda: segmentation(1), "at least 2, not 1"),
        (lambda: segmentation(5, ignore_index=4), "a number that is no class"),
        (lambda: Task(loss=cross_entropy, scores=[]), "at least one score"),
        (lambda: classification(scores=[classification().scores[0]]), "a name of its own"),
        (lambda: from_torchmetrics(object(), ERROR), "object has no update, compute, reset"),
        (
            lambda: Mean(lambda *_: torch.ones(2, 2), ERROR).update(0, 0),
            r"\[batch\], not \[2, 2\]",
        ),
        (lambda: Mean(lambda *_: 1.0, ERROR).update(0, 0), "not float"),
        (lambda: Share(lambda *_: torch.ones(2), ERROR).compute(), "there were no items"),
    ],
)
def test_wrong_settings_are_reported(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_an_object_that_computes_several_numbers_is_refused():
    class Pair(Torchmetrics):
        def compute(self):
            return {"a": 1.0, "b": 2.0}

    score = from_torchmetrics(Pair(), ERROR)
    score.update(numbers(9, 4), some_classes(9))
    with pytest.raises(ConfigurationError, match=r"compute\(\) of Pair to return one number"):
        score.compute()


def test_what_is_distilled_is_the_first_tensor_by_default():
    first, second = numbers(4, 3), numbers(4, 5)
    assert regression().distilled((first, second)) is first
    assert segmentation(3).distilled({"aux": second, "out": first}) is first
    with pytest.raises(UsageError, match="expected a tensor"):
        classification().distilled(None)


def test_losses_of_the_user_take_the_place_of_ours():
    for task in (classification(loss=cross_entropy), segmentation(3, loss=cross_entropy)):
        assert task.loss is cross_entropy
    assert math.isfinite(regression(loss=lambda outputs, _: outputs.sum()).loss(numbers(3), 0))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (
            [cross_entropy],
            "scores: cross_entropy has no metric, reset, .*Mean",
        ),
        (cross_entropy, "scores: expected a list, not function"),
        ([], "expected at least one score"),
    ],
)
def test_scores_are_checked(scores, message):
    with pytest.raises(ConfigurationError, match=message):
        Task(name="mine", loss=cross_entropy, scores=scores)
