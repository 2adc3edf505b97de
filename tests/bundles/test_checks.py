"""What is found wrong with a file, and what then happens to it."""

import copy
import dataclasses
import json
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autocompress.bundles import FORMATS, Measured
from autocompress.bundles.checks import (
    TOLERANCE,
    Check,
    Opened,
    check_outputs,
    check_score,
    check_validation,
    spreads,
)
from autocompress.bundles.formats.pt2 import Pt2
from autocompress.bundles.material import Material, write_validation
from autocompress.bundles.verify import main, verify
from autocompress.errors import VerificationError
from autocompress.metrics import Estimate, Metric
from autocompress.tasks import classification

from little_bundles import ACCURACY, compressed, export, material

SPREAD = MappingProxyType({"outputs": 1.0})


def opened(run, *, exact=True, batch="any"):
    return Opened("model.x", run, batch, exact=exact)


@pytest.fixture
def expected():
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(3))


NUMBERS = torch.arange(16.0).reshape(16, 1, 1, 1)


def looked_up(outputs):
    """A model whose outputs are rows of ``outputs``; its images are their numbers."""
    return lambda images: outputs[images.flatten().long()]


def checked(model, expected):
    golden = {"outputs": expected}
    difference, _ = check_outputs(model, NUMBERS, golden, spreads(golden))
    return difference


def test_the_difference_is_a_fraction_of_the_outputs_spread(expected):
    moved = expected.clone()
    moved[5, 2] += 0.5 * TOLERANCE * float(expected.double().std())
    assert checked(opened(looked_up(moved)), expected) == pytest.approx(0.5 * TOLERANCE, rel=0.01)


@pytest.mark.parametrize("by", [2 * TOLERANCE, float("nan")])
def test_outputs_that_moved_are_refused_where_the_format_is_exact(expected, by):
    moved = expected.clone()
    moved[5, 2] += by * float(expected.std())
    with pytest.raises(VerificationError, match=r"model\.x: reloaded, its outputs differ by"):
        checked(opened(looked_up(moved)), expected)
    checked(opened(looked_up(moved), exact=False), expected)


def test_outputs_of_another_shape_are_refused(expected):
    wide = torch.cat([expected, expected], 1)
    told = r"expected outputs of shape \[16, 4\], not \[16, 8\]"
    with pytest.raises(VerificationError, match=told):
        checked(opened(looked_up(wide), exact=False), expected)


def test_outputs_of_another_structure_are_refused(expected):
    run = looked_up(expected)
    with pytest.raises(VerificationError, match=r"expected outputs, not outputs\.0, outputs\.1"):
        checked(opened(lambda images: (run(images), run(images))), expected)


def test_each_of_several_outputs_is_compared_by_its_own_spread(expected):
    golden = {"outputs.0": expected, "outputs.1": 100 * expected}
    moved = 100 * expected.clone()
    moved[0, 0] += 50 * TOLERANCE
    run = looked_up(expected), looked_up(moved)
    model = opened(lambda images: tuple(one(images) for one in run))
    difference, found = check_outputs(model, NUMBERS, golden, spreads(golden))
    assert difference < TOLERANCE
    assert list(found) == ["outputs.0", "outputs.1"]


def test_a_file_for_one_input_gets_one_at_a_time(expected):
    seen = []

    def run(images):
        seen.append(len(images))
        return looked_up(expected)(images)

    assert checked(opened(run, batch=1), expected) == 0
    assert seen == [1] * 16


class LookedUp(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.register_buffer("rows", outputs)

    def forward(self, images):
        return self.rows[images.flatten().long()]


@pytest.fixture
def validation(tmp_path):
    """100 images in two batches; the model is right on 90 of them."""
    outputs = torch.eye(4).repeat(25, 1) * 5
    labels = outputs.argmax(1)
    labels[:10] = (labels[:10] + 1) % 4
    images = torch.arange(100.0).reshape(100, 1, 1, 1)
    batches = [(images[part], labels[part]) for part in (slice(0, 50), slice(50, 100))]
    folder = tmp_path / "validation"
    folder.mkdir()
    about = Material(validation=batches)
    return write_validation(LookedUp(outputs), about, folder, 16), outputs


def other_class(outputs, rows):
    changed = outputs.clone()
    changed[rows] = changed[rows].roll(1, dims=1)
    return changed


def scored(validation, outputs, tmp_path, **options):
    """Check a file with these outputs over the validation set; return what is found of it."""
    kept, task = validation, classification(4)
    model, found = opened(looked_up(outputs), **options), tmp_path / "found"
    difference, items = check_validation(model, kept.folder, SPREAD, found)
    return Check(
        difference=difference,
        items=items,
        scores=kept.scores(task, found),
        agreement=kept.agreement(task, found),
    )


def test_the_validation_set_is_kept_with_the_models_outputs(validation):
    kept, outputs = validation
    assert kept.items == 100
    assert len(kept.example) == 16
    files = sorted(kept.folder.glob("*.safetensors"))
    assert torch.equal(torch.cat([load_file(path)["outputs"] for path in files]), outputs)


def test_scores_and_agreement_are_over_all_items(validation, tmp_path):
    kept, outputs = validation
    found = scored(kept, outputs, tmp_path)
    assert (found.agreement, found.scores["accuracy"].value, found.items) == (1.0, 0.9, 100)
    assert found.scores["accuracy"].n == 100
    moved = other_class(outputs, slice(98, 100))
    found = scored(kept, moved, tmp_path, exact=False)
    assert (found.agreement, found.scores["accuracy"].value, found.items) == (0.98, 0.88, 100)


def test_any_other_output_is_refused_where_the_format_is_exact(validation, tmp_path):
    kept, outputs = validation
    with pytest.raises(VerificationError, match="its outputs differ by"):
        scored(kept, other_class(outputs, slice(99, 100)), tmp_path)


def check_of(score):
    return Check(items=100, scores={"accuracy": Estimate(value=score)})


@pytest.mark.parametrize("score", [0.89, 0.88, 0.95])
def test_lower_precision_may_lose_two_points_of_the_model(score):
    assert check_score("model.x", check_of(score), ACCURACY, 0.9, measured=False).failed is None


def test_lower_precision_may_not_lose_more():
    found = check_score("model.x", check_of(0.87), ACCURACY, 0.9, measured=False)
    assert found.failed == (
        "model.x: its accuracy on 100 items is 87.00%, more than 2 points worse than the 90.00% "
        "of the model"
    )


def test_a_file_that_was_measured_before_is_held_to_what_was_measured():
    assert check_score("x", check_of(0.87), ACCURACY, 0.87, measured=True).failed is None
    found = check_score("x", check_of(0.9), ACCURACY, 0.95, measured=True)
    assert found.failed.endswith("the 95.00% that it was measured to have")


@pytest.mark.parametrize(("value", "fails"), [(2.0, False), (2.04, False), (2.1, True)])
def test_a_score_that_is_compared_as_a_ratio_may_be_two_percent_worse(value, fails):
    error = Metric(name="error", direction="minimize", unit="m")
    check = Check(items=5, scores={"error": Estimate(value=value)})
    found = check_score("x", check, error, 2.0, measured=False)
    assert (found.failed is not None) == fails
    if fails:
        assert "its error on 5 items is 2.1 m, more than 2% worse than the 2 m" in found.failed


def test_what_was_found_goes_to_json_and_back(exported):
    for check in exported[2].checks.values():
        assert Check.from_dict(json.loads(json.dumps(check.to_dict()))) == check


def test_each_model_file_is_checked_over_the_whole_validation_set(exported):
    _, folder, returned = exported
    assert set(returned.checks) == {"model.pt2", "weights.safetensors"}
    for name, check in returned.checks.items():
        assert (check.items, check.agreement, check.scores["accuracy"].value) == (30, 1, 0.8)
        assert check.difference < 1e-5
        assert check.batch == "any"
        assert 0 < check.latency.p10_ms <= check.latency.p50_ms
        assert (check.baseline_latency is None) == (name == "weights.safetensors")
    assert returned.checks["weights.safetensors"].parameters == sum(
        parameter.numel() for parameter in exported[0].parameters()
    )
    checks = {name: check.to_dict() for name, check in returned.checks.items()}
    assert json.loads((folder / "bundle.json").read_text())["checks"] == checks


class Shifted(Pt2):
    """Writes a graph that is not the model's."""

    @staticmethod
    def write(source, path):
        model = copy.deepcopy(source.model)
        with torch.no_grad():
            model.classifier[6].bias[0] += 0.01
        return Pt2.write(dataclasses.replace(source, model=model), path)


class Truncated(Pt2):
    """Writes half of a file."""

    @staticmethod
    def write(source, path):
        batch = Pt2.write(source, path)
        path.write_bytes(path.read_bytes()[:1000])
        return batch


@pytest.fixture
def wrong_formats():
    for kind in (Shifted, Truncated):
        FORMATS.register(kind)
    yield
    for kind in (Shifted, Truncated):
        FORMATS.unregister(kind.__name__)


@pytest.mark.usefixtures("wrong_formats")
def test_a_file_that_fails_goes_to_rejected_and_the_card_says_why(tmp_path):
    folder = tmp_path / "bundle"
    returned = export(folder, formats=("Shifted",))
    reason = returned.rejected["model.pt2"]
    assert "model.pt2: reloaded, its outputs differ by" in reason
    assert set(returned.checks) == {"weights.safetensors"}
    assert [path.name for path in (folder / "rejected").iterdir()] == ["model.pt2"]
    assert not (folder / "model.pt2").exists()
    assert "model.pt2" not in returned.files
    card = (folder / "README.md").read_text()
    assert f"Rejected, and moved to `rejected/`: model.pt2. {reason}" in card
    assert "torch.export.load" not in card
    again = export(folder, force=True, verifier=verify)  # rejected files are a bundle's too
    assert not (folder / "rejected").exists()
    assert again.rejected == {}


@pytest.mark.usefixtures("wrong_formats")
def test_a_file_that_cannot_be_opened_is_rejected(tmp_path):
    about = material(compressed(), baseline=None)
    options = {"formats": ("Truncated",), "material": about, "verifier": verify}
    returned = export(tmp_path / "bundle", **options)
    assert returned.rejected["model.pt2"].startswith("model.pt2 can't be opened")


def test_the_check_runs_as_a_command(exported, tmp_path, capsys):
    _, folder, _ = exported
    assert main([str(folder), "--report", str(tmp_path / "report.json")]) == 0
    report = {name: check.to_dict() for name, check in verify(folder).items()}
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert main([str(tmp_path)]) == 1
    assert "is not a bundle" in capsys.readouterr().err


def test_files_that_were_made_before_are_shipped_as_they_are(exported, tmp_path):
    model, folder, _ = exported
    content = (folder / "model.pt2").read_bytes()
    about = material(model, measured={"pt2": Measured(content=content, score=0.8, batch="any")})
    assert export(tmp_path / "bundle", model, material=about, verifier=verify).rejected == {}
    assert (tmp_path / "bundle" / "model.pt2").read_bytes() == content
