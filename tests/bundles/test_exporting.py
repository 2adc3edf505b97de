"""``autocompress.export``: Python objects of any task to a bundle, and back."""

import sys

import pytest
import torch
from torch import nn

import autocompress as ac
from autocompress.bundles import ModelSpec, Timing
from autocompress.bundles.loading import read_index
from autocompress.errors import UsageError, VerificationError
from autocompress.graph import Remove
from autocompress.pipeline import State
from autocompress.results import EpochRecord

BRIEF = Timing(budget_s=0.05)
MODULE = """
import torch
from torch import nn

def net(width=8):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2, 1)
    )

def from_bundle():
    import autocompress as ac
    return ac.load("first", allow=["nets_of_mine"])
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A module of the user's in the current folder, which fresh processes find too."""
    (tmp_path / "nets_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import nets_of_mine

    yield nets_of_mine
    sys.modules.pop("nets_of_mine")


def images(count=20):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def masks(inputs):
    """Bright pixels are of class 1."""
    return (inputs[:, 0] > 0.5).long()


def narrowed(model, units, name="0", follower="2"):
    """Cut units of a layer; return the model and the plan."""
    cut = {(f"{name}.weight", 0): units, (f"{name}.bias", 0): units}
    plan = ac.Plan((Remove({**cut, (f"{follower}.weight", 1): units}),))
    ac.rebuild(model, plan)
    return model.eval(), plan


def test_a_segmentation_is_scored_by_its_own_metrics_in_every_file(nets, onnx):
    model, plan = narrowed(nets.net(), (1, 4))
    data = tuple((part, masks(part)) for part in images(30).split(10))
    found = ac.export(
        model, "bundle", plan=plan, factory="nets_of_mine:net", data=data, baseline=nets.net(),
        task=ac.segmentation(2), formats=("pt2", "onnx", "onnx-int8"), timing=BRIEF,
    )  # fmt: skip
    assert found.rejected == found.unwritten == {}
    expected = ["model-int8.onnx", "model.onnx", "model.pt2", "weights.safetensors"]
    assert sorted(found.checks) == expected
    scores = {name: dict(check.scores) for name, check in found.checks.items()}
    assert all(list(known) == ["mean_iou", "pixel_accuracy"] for known in scores.values())
    first = scores["weights.safetensors"]["mean_iou"].value
    assert scores["model.pt2"]["mean_iou"].value == pytest.approx(first, abs=1e-6)
    assert all(check.agreement is None for check in found.checks.values())
    card = (found.path / "README.md").read_text()
    assert "| mean IoU, 10 items |" in card
    assert "| file | difference | mean IoU | pixel accuracy | items |" in card
    assert "A network for segmentation" in card
    assert "python infer.py inputs.npy --output outputs.npy" in card
    assert not (found.path / "labels.txt").exists()
    assert read_index(found.path).task == "segmentation"
    torch.testing.assert_close(
        ac.load("bundle", allow=["nets_of_mine"])(images()), model(images())
    )


class InANotebook(nn.Module):
    """Returns a dictionary; no other process can build it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        hidden = self.body(inputs).relu()
        return {"out": self.head(hidden), "hidden": hidden}


def test_a_model_without_a_factory_runs_and_needs_its_function_to_be_loaded(tmp_path):
    torch.manual_seed(0)
    model = InANotebook().eval()
    model, plan = narrowed(model, (2, 5), "body", "head")
    found = ac.export(model, tmp_path / "b", plan=plan, example=torch.rand(4, 6), timing=BRIEF)
    assert list(found.checks) == ["model.pt2"]
    check = found.checks["model.pt2"]
    assert (check.items, check.scores) == (0, {})
    assert check.difference < 1e-5
    assert check.latency.n > 0
    card = (tmp_path / "b" / "README.md").read_text()
    assert "does not know which function builds the uncompressed model" in card
    assert "factory=build_uncompressed_model" in card

    inputs = torch.rand(3, 6)
    graph = torch.export.load(tmp_path / "b" / "model.pt2").module()
    torch.testing.assert_close(graph(inputs), model(inputs))
    with pytest.raises(UsageError, match="does not know which function builds its model"):
        ac.load(tmp_path / "b")
    torch.testing.assert_close(ac.load(tmp_path / "b", factory=InANotebook)(inputs), model(inputs))
    with pytest.raises(UsageError, match="does not fit the model that the factory builds"):
        ac.load(tmp_path / "b", factory=lambda: nn.Linear(6, 3))


def test_without_a_factory_a_bundle_needs_a_file_that_runs(tmp_path):
    torch.manual_seed(0)
    options = {"example": torch.rand(4, 6), "timing": BRIEF, "formats": ("onnx",)}
    with pytest.raises(VerificationError, match="a tensor or a tuple of tensors, not dict"):
        ac.export(InANotebook().eval(), tmp_path / "b", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_model_of_a_bundle_can_be_compressed_and_exported_again(nets):
    spec = ModelSpec(factory="nets_of_mine:net", kwargs={"width": 6})
    first, plan = narrowed(nets.net(6), (0, 1))
    options = {"example": images(), "timing": BRIEF}
    ac.export(first, "first", plan=plan, factory=spec, **options)
    second, more = narrowed(nets.from_bundle(), (2,))
    factory = "nets_of_mine:from_bundle"
    found = ac.export(second, "second", plan=more, factory=factory, **options)
    assert ac.Plan.from_json((found.path / "plan.json").read_text()) == more
    loaded = ac.load("second", allow=["nets_of_mine"])
    assert loaded[0].out_channels == 3
    torch.testing.assert_close(loaded(images()), second(images()))


def test_a_state_brings_its_plan_and_its_curve(nets):
    model, plan = narrowed(nets.net(), (3,))
    record = EpochRecord(stage="train", epoch=1, train_loss=1.0, valid_loss=1.0, score=0.5)
    data = tuple((part, masks(part)) for part in images(30).split(10))
    found = ac.export(
        State(model, plan, curve=(record,)), "bundle", factory="nets_of_mine:net", data=data,
        task=ac.segmentation(2), timing=BRIEF, name="a state",
    )  # fmt: skip
    assert (found.path / "curve.svg").exists()
    assert (found.path / "README.md").read_text().startswith("# a state\n")
    assert ac.load("bundle", allow=["nets_of_mine"])[0].out_channels == 7


def test_there_must_be_something_to_compare_on(tmp_path):
    with pytest.raises(UsageError, match="expected data or an example"):
        ac.export(nn.Linear(2, 2), tmp_path / "bundle")
