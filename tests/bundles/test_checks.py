"""What is found wrong with a file, and what then happens to it."""

import copy
import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from autocompress.errors import VerificationError
from autocompress.bundles import Measured
from autocompress.bundles.checks import TOLERANCE, Opened, check_accuracy, check_golden
from autocompress.bundles.formats.pt2 import Pt2
from autocompress.bundles.verify import main, verify

from little_bundles import compressed, export, material


def opened(run, *, exact=True, batch="any", expected=None):
    return Opened("model.x", run, batch, exact=exact, expected=expected)


@pytest.fixture
def golden():
    outputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(3))
    return {"inputs": torch.arange(16.0).reshape(16, 1, 1, 1), "outputs": outputs}


def looked_up(outputs):
    """A model whose outputs are rows of ``outputs``; its images are their numbers."""
    return lambda images: outputs[images.flatten().long()]


def test_the_difference_is_a_fraction_of_the_outputs_spread(golden):
    spread = float(golden["outputs"].double().std())
    moved = golden["outputs"].clone()
    moved[5, 2] += 0.5 * TOLERANCE * spread
    found = check_golden(opened(looked_up(moved)), golden)
    assert found == pytest.approx(0.5 * TOLERANCE, rel=0.01)


@pytest.mark.parametrize("by", [2 * TOLERANCE, float("nan")])
def test_outputs_that_moved_are_refused_where_the_format_is_exact(golden, by):
    moved = golden["outputs"].clone()
    moved[5, 2] += by * float(golden["outputs"].std())
    with pytest.raises(VerificationError, match=r"model\.x: reloaded, its outputs differ by"):
        check_golden(opened(looked_up(moved)), golden)
    check_golden(opened(looked_up(moved), exact=False), golden)


def test_outputs_of_another_shape_are_refused(golden):
    wide = torch.cat([golden["outputs"], golden["outputs"]], 1)
    told = r"expected outputs of shape \[16, 4\], not \[16, 8\]"
    with pytest.raises(VerificationError, match=told):
        check_golden(opened(looked_up(wide), exact=False), golden)


def test_a_file_for_one_image_gets_one_at_a_time(golden):
    seen = []

    def run(images):
        seen.append(len(images))
        return looked_up(golden["outputs"])(images)

    assert check_golden(opened(run, batch=1), golden) == 0
    assert seen == [1] * 16


@pytest.fixture
def validation(tmp_path):
    """100 images in two parts; the model is right on 90 of them. Folder and outputs."""
    outputs = torch.eye(4).repeat(25, 1) * 5
    labels = outputs.argmax(1)
    labels[:10] = (labels[:10] + 1) % 4
    for number in (0, 1):
        rows = slice(50 * number, 50 * number + 50)
        images = torch.arange(100.0)[rows].reshape(50, 1, 1, 1)
        part = {"images": images, "labels": labels[rows], "outputs": outputs[rows]}
        save_file(part, tmp_path / f"{number}.safetensors")
    return tmp_path, outputs


def other_class(outputs, rows):
    changed = outputs.clone()
    changed[rows] = changed[rows].roll(1, dims=1)
    return changed


def test_accuracy_and_agreement_are_over_all_images(validation):
    folder, outputs = validation
    found = check_accuracy(opened(looked_up(outputs)), folder)
    assert found == {"agreement": 1.0, "accuracy": 0.9, "images": 100}
    moved = other_class(outputs, slice(98, 100))
    found = check_accuracy(opened(looked_up(moved), exact=False), folder)
    assert found == {"agreement": 0.98, "accuracy": 0.88, "images": 100}


def test_another_top_class_is_refused_where_the_format_is_exact(validation):
    folder, outputs = validation
    with pytest.raises(VerificationError, match="another top class for 1 of 100"):
        check_accuracy(opened(looked_up(other_class(outputs, slice(99, 100)))), folder)


def test_a_tie_that_rounding_broke_the_other_way_is_no_other_class(tmp_path):
    tied = torch.tensor([[5.0, 5.0 - 1e-6, 0.0, 0.0]])
    part = {"images": torch.zeros(1, 1, 1, 1), "labels": torch.tensor([0]), "outputs": tied}
    save_file(part, tmp_path / "0.safetensors")
    swapped = torch.tensor([[5.0 - 1e-6, 5.0, 0.0, 0.0]])
    assert check_accuracy(opened(looked_up(swapped)), tmp_path)["agreement"] == 1


def test_lower_precision_may_lose_two_points_of_the_model_and_no_more(validation):
    folder, outputs = validation
    worse = other_class(outputs, slice(97, 100))
    told = r"is 87\.00%, more than 2 points below the 90\.00% of the model"
    with pytest.raises(VerificationError, match=told):
        check_accuracy(opened(looked_up(worse), exact=False), folder)


def test_a_file_that_was_measured_before_is_held_to_what_was_measured(validation):
    folder, outputs = validation
    worse = other_class(outputs, slice(97, 100))
    chosen = opened(looked_up(worse), exact=False, expected=0.87)
    assert check_accuracy(chosen, folder)["accuracy"] == 0.87
    with pytest.raises(VerificationError, match=r"the 95\.00% that it was measured to have"):
        check_accuracy(opened(looked_up(outputs), exact=False, expected=0.95), folder)


def test_each_model_file_is_checked_over_the_whole_validation_set(exported):
    _, folder, returned = exported
    assert set(returned["checks"]) == {"model.pt2", "weights.safetensors"}
    for name, check in returned["checks"].items():
        assert (check["images"], check["agreement"], check["accuracy"]) == (30, 1, 0.8)
        assert check["difference"] < 1e-5
        assert check["batch"] == "any"
        assert 0 < check["latency"]["p10_ms"] <= check["latency"]["p50_ms"]
        assert (check["baseline_latency"] is None) == (name == "weights.safetensors")
    assert returned["checks"]["weights.safetensors"]["parameters"] == sum(
        parameter.numel() for parameter in exported[0].parameters()
    )
    assert json.loads((folder / "bundle.json").read_text())["checks"] == returned["checks"]


def wrong_graph(monkeypatch, change):
    """Let pt2 files hold a model that is not the one that is exported."""
    write = Pt2.write

    def write_changed(source, path):
        model = copy.deepcopy(source.model)
        if source.metadata:  # the baseline has none
            change(model)
        return write(dataclasses.replace(source, model=model), path)

    monkeypatch.setattr(Pt2, "write", staticmethod(write_changed))


def test_a_file_that_fails_goes_to_rejected_and_the_card_says_why(tmp_path, monkeypatch):
    def shift(model):
        with torch.no_grad():
            model.classifier[6].bias[0] += 0.01

    wrong_graph(monkeypatch, shift)
    folder = tmp_path / "bundle"
    returned = export(folder)
    reason = returned["rejected"]["model.pt2"]
    assert "model.pt2: reloaded, its outputs differ by" in reason
    assert set(returned["checks"]) == {"weights.safetensors"}
    assert [path.name for path in (folder / "rejected").iterdir()] == ["model.pt2"]
    assert not (folder / "model.pt2").exists()
    assert "model.pt2" not in returned["files"]
    card = (folder / "README.md").read_text()
    assert f"Rejected, and moved to `rejected/`: model.pt2. {reason}" in card
    assert "torch.export.load" not in card
    monkeypatch.undo()
    again = export(folder, force=True)  # rejected files are a bundle's too
    assert not (folder / "rejected").exists()
    assert again["rejected"] == {}


@pytest.mark.usefixtures("checked_here")
def test_a_file_that_cannot_be_opened_is_rejected(tmp_path, monkeypatch):
    write = Pt2.write

    def write_half(source, path):
        batch = write(source, path)
        path.write_bytes(path.read_bytes()[:1000])
        return batch

    monkeypatch.setattr(Pt2, "write", staticmethod(write_half))
    returned = export(tmp_path / "bundle", material=material(compressed(), baseline=None))
    assert returned["rejected"]["model.pt2"].startswith("model.pt2 can't be opened")


def test_the_check_runs_as_a_command(exported, tmp_path, capsys):
    _, folder, _ = exported
    assert main([str(folder), "--report", str(tmp_path / "report.json")]) == 0
    assert json.loads((tmp_path / "report.json").read_text()) == verify(folder)
    assert main([str(tmp_path)]) == 1
    assert "is not a bundle" in capsys.readouterr().err


@pytest.mark.usefixtures("checked_here")
def test_files_that_were_made_before_are_shipped_as_they_are(exported, tmp_path):
    model, folder, _ = exported
    content = (folder / "model.pt2").read_bytes()
    made = Measured(content=content, accuracy=0.8, batch="any")
    about = material(model, measured={"pt2": made})
    assert export(tmp_path / "bundle", model, material=about)["rejected"] == {}
    assert (tmp_path / "bundle" / "model.pt2").read_bytes() == content
