import json

import pytest

from autocompress.errors import UsageError
from autocompress.graph.plan import Fold, LowRank, Plan, Remove, as_ranges, from_ranges

PLAN = Plan(
    (
        Remove({("a.weight", 0): (0, 1, 2, 7), ("b.weight", 1): (3,)}, {"block.heads": 3}),
        LowRank("fc", "linear", 8),
        Fold("conv", "norm", "before", remove_norm=False),
    )
)


def test_a_plan_survives_json():
    assert Plan.from_json(PLAN.to_json()) == PLAN


def test_indices_are_written_as_ranges():
    step = json.loads(PLAN.to_json())["steps"][0]
    assert step["index_sets"][step["tensors"]["a.weight"]["0"]] == [[0, 3], [7, 8]]


def test_equal_sets_of_indices_are_written_once():
    step = Remove({("a", 0): (1, 2), ("b", 0): (1, 2), ("b", 1): (4,)})
    text = Plan((step,)).to_json()
    assert json.loads(text)["steps"][0]["index_sets"] == [[[1, 3]], [[4, 5]]]
    assert Plan.from_json(text) == Plan((step,))


@pytest.mark.parametrize("indices", [(), (4,), (0, 1, 2), (1, 3, 5, 6)])
def test_ranges_round_trip(indices):
    assert from_ranges(as_ranges(indices)) == indices


def changed(**changes):
    document = json.loads(PLAN.to_json())
    document["steps"][0].update(changes)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a plan"),
        ('{"format": "other"}', "not a plan"),
        ('{"format": "autocompress-plan", "version": 99}', "version 99"),
        ('{"format": "autocompress-plan", "version": 1, "steps": 3}', "must be a list"),
        (changed(step="paint"), "known steps: remove, low_rank, fold"),
        (changed(index_sets=[[[3, 1]]]), "empty range"),
        (changed(index_sets=[[[0, 4], [2, 6]]]), "overlap"),
        (changed(index_sets=[[[0.5, 4]]]), "integer"),
        (changed(index_sets=[[[0, 4, 6]]]), "a range is"),
        (changed(tensors={"a": {"x": 0}}), "invalid literal"),
        (changed(tensors={"a": {"0": 9}}), "out of range"),
        (changed(attributes={"a": True}), "integer"),
    ],
)
def test_a_foreign_or_corrupt_plan_is_a_clear_error(text, message):
    with pytest.raises(UsageError, match=message):
        Plan.from_json(text)


@pytest.mark.parametrize(
    "step",
    [
        {"step": "low_rank", "module": "fc", "kind": "linear", "rank": 0},
        {"step": "low_rank", "module": "fc", "kind": "cubic", "rank": 2},
        {"step": "fold", "convolution": "", "norm": "n", "order": "after", "remove_norm": True},
        {"step": "fold", "convolution": "c", "norm": "n", "order": "beside", "remove_norm": True},
        {"step": "fold", "convolution": "c", "norm": "n", "order": "after", "remove_norm": 1},
    ],
)
def test_steps_are_checked(step):
    document = {"format": "autocompress-plan", "version": 1, "steps": [step]}
    with pytest.raises(UsageError, match="step 0 of the plan is wrong"):
        Plan.from_json(json.dumps(document))
