"""From a trial of a run to a bundle."""

import json
import tomllib

import pytest
import torch
from torch import nn

import autocompress as ac
from autocompress.bundles import export_trial, load
from autocompress.bundles.loading import digest_of_weights
from autocompress.bundles.verify import verify
from autocompress.config import study_from
from autocompress.errors import ConfigurationError, RunError
from autocompress.models import build
from autocompress.runs import Run, layout
from autocompress.runs.store import load_state, load_tensors
from autocompress.study.budget import Amount

KWARGS = {"widths": [4, 4], "layers_per_stage": 1, "hidden": 16, "dropout": 0.0}
CONFIG = {
    "study": {"name": "tiny", "estimate": True, "early_stopping": False, "derive": False},
    "data": {
        "source": "digits", "image_size": 8, "batch_size": 50,
        "train_limit": 200, "valid_limit": 60, "test_limit": 60,
    },
    "model": {"factory": "autocompress:vgg_small", "kwargs": KWARGS, "epochs": 1},
    "target": {"budget_s": 0.1, "runtime": "onnxruntime", "device": "cpu"},
    "training": {"epochs": 1, "recovery_epochs": 0},
    "search": {"sparsity": {"low": 0.0, "high": 0.6}, "precision": ["fp32", "int8"]},
    "limits": {"parameter_ratio": 0.9},
}  # fmt: skip
FLOAT, INT8, PRUNED = range(3)
RECIPES = (
    {"sparsity": 0.5, "precision": "fp32"},
    {"sparsity": 0.5, "precision": "int8"},
    {"sparsity": 0.0, "precision": "fp32"},  # keeps more than the limit allows
)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the ONNX exporter


@pytest.fixture(scope="module")
def run(tmp_path_factory, onnx):
    """A run of a float32, an 8-bit and a pruned trial."""
    return ac.run_study(
        study_from(CONFIG),
        directory=tmp_path_factory.mktemp("runs"),
        amount=Amount(trials=len(RECIPES)),
        recipes=RECIPES,
        executor=ac.InlineExecutor(),
    )


def structure():
    return build("autocompress:vgg_small", KWARGS, num_classes=10, channels=1)


def test_a_trial_becomes_a_verified_bundle_that_says_where_it_is_from(run, tmp_path):
    bundle, record = tmp_path / "bundle", run.trial(FLOAT)
    found = export_trial(run, FLOAT, bundle)
    check = found.checks["model.pt2"]
    assert check.items == 60
    assert check.scores["accuracy"].value == record.metrics["accuracy"].value
    assert check.baseline_latency.n > 0
    model = load_state(record.folder, structure()).model
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(load(bundle)(images), model(images))

    card = (bundle / "README.md").read_text()
    assert "# tiny, trial 0" in card
    assert "| accuracy, 60 items |" in card
    assert "| accuracy on test, 60 items |" in card
    assert f"cpu {run.fingerprint['cpu']}" in card
    assert (bundle / "curve.svg").exists()
    assert tomllib.loads((bundle / "study.toml").read_text())["study"]["name"] == "tiny"
    baseline = structure()
    load_tensors(baseline, run.path / "baseline" / "weights.safetensors")
    assert json.loads((bundle / "origin.json").read_text()) == {
        "trial": 0,
        "chain": [json.loads(json.dumps(record.recipe))],
        "threads": [record.threads],
        "baseline_threads": record.threads,
        "machine": run.fingerprint,
        "baseline_sha256": digest_of_weights(baseline),
    }


def test_a_trial_without_a_model_is_refused(run, tmp_path):
    assert run.trial(PRUNED).state == "pruned"
    with pytest.raises(RunError, match="trial 2, which is pruned, has no model"):
        export_trial(run, PRUNED, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_very_int8_file_that_was_measured_is_shipped(run, tmp_path):
    record = run.trial(INT8)
    path = record.folder / layout.ARTIFACT
    found = export_trial(run, INT8, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "model-int8.onnx").read_bytes() == path.read_bytes()
    score = found.checks["model-int8.onnx"].scores["accuracy"].value
    assert score == record.metrics["accuracy"].value
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "- **int8**: the numbers above are those of `model-int8.onnx`" in card


def test_a_folder_that_was_changed_is_refused(run, tmp_path):
    record = run.trial(INT8)
    path = record.folder / layout.ARTIFACT
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(RunError, match="is damaged"):
            export_trial(run, INT8, tmp_path / "bundle")
    finally:
        path.write_bytes(content)


def test_objects_that_a_study_file_cannot_name_are_given_again(tmp_path):
    torch.manual_seed(0)
    inputs = torch.randn(90, 6)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    data, task = (inputs, inputs[:, :2] * 2), ac.regression()
    run = ac.search(
        model, data, task=task, trials=1, name="objects", directory=tmp_path,
        target={"device": "cpu", "budget_s": 0.05}, space={"linear_sparsity": [0.25, 0.5]},
        training={"epochs": 1, "recovery_epochs": 0}, study={"derive": False},
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="give model, data, task again"):
        export_trial(run, 0, tmp_path / "bundle")
    given = {"model": model, "data": data, "task": task}
    found = export_trial(Run.open(run.path), 0, tmp_path / "bundle", **given)
    assert list(found.checks) == ["model.pt2"]
    assert list(found.checks["model.pt2"].scores) == [score.metric.name for score in task.scores]
    assert ac.load(tmp_path / "bundle", factory=lambda: model) is not None
    assert verify(tmp_path / "bundle")["model.pt2"].failed is None
