"""From a trial of a run to a bundle."""

import json
import tomllib
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from autocompress import models
from autocompress.artifacts import write_json
from autocompress.bundles import export_trial, load
from autocompress.bundles.loading import digest_of_weights
from autocompress.errors import RunError
from autocompress.graph import Remove, plan_of, remove
from autocompress.search.workbench import INT8_FILE
from autocompress.study.preparation import load_batches
from autocompress.study.trials import TrialRecord
from autocompress.targets.int8 import quantize
from autocompress.targets.onnx_files import open_session, runner, write_onnx
from autocompress.training.evaluation import score

KWARGS = {"widths": [4, 4], "hidden": 16}
CONFIG = {
    "study": {"name": "tiny"},
    "data": {"source": "digits", "image_size": 8, "valid_limit": 60},
    "model": {"factory": "autocompress:vgg_small", "kwargs": KWARGS},
    "latency": {"budget_s": 0.1},
    "search": {"sparsity": {"low": 0.0, "high": 0.5}},
}
METRICS = {"latency_ms": 0.5, "latency_ratio": 0.6, "parameters": 500}
FINGERPRINT = {"processor": "Example CPU", "threads": 1}
COMMON = {
    "reason": None, "stage": None, "violations": {}, "params": {}, "seconds": {},
    "started": None, "finished": None, "feasible": True,
}  # fmt: skip


def batches():
    from autocompress.config import study_from

    return load_batches(study_from(CONFIG))


@pytest.fixture
def run(tmp_path):
    """What exporting needs of a run with two trials, one complete and one failed; its model."""
    torch.manual_seed(0)
    baseline = models.build("autocompress:vgg_small", KWARGS, num_classes=10, channels=1).eval()
    home = tmp_path / "run" / "baseline"
    home.mkdir(parents=True)
    save_file(baseline.state_dict(), home / "weights.safetensors")
    write_json(home / "training.json", {"epochs": 0, "seconds": 0.0, "threads": 2})
    model = models.build("autocompress:vgg_small", KWARGS, num_classes=10, channels=1).eval()
    cut = {("classifier.0.weight", 0): (0, 5), ("classifier.0.bias", 0): (0, 5)}
    remove(model, Remove({**cut, ("classifier.3.weight", 1): (0, 5)}))
    folder = tmp_path / "run" / "trials" / "00000"
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "weights.safetensors")
    (folder / "plan.json").write_text(plan_of(model).to_json())
    write_json(folder / "curve.json", [{"stage": "sparsify", "epoch": 1, "accuracy": 0.1}])
    complete = TrialRecord(
        number=0, state="complete", metrics={"accuracy": 0.1, **METRICS}, recipe={"fold": True},
        folder=folder, threads=1, **COMMON,
    )  # fmt: skip
    failed = TrialRecord(number=1, state="failed", metrics={}, recipe={}, folder=None, **COMMON)
    opened = SimpleNamespace(
        name="tiny",
        path=tmp_path / "run",
        config=CONFIG,
        fingerprint=FINGERPRINT,
        baseline={"accuracy": 0.2, "latency_ms": 1.0, "parameters": 1000},
        records=[complete, failed],
    )
    opened.trial = opened.records.__getitem__
    return opened, model, baseline


@pytest.mark.usefixtures("checked_here")
def test_a_trial_becomes_a_verified_bundle_that_tells_where_it_is_from(run, tmp_path):
    opened, model, baseline = run
    bundle = tmp_path / "bundle"
    returned = export_trial(opened, 0, bundle)
    check = returned["checks"]["model.pt2"]
    assert check["images"] == 60
    assert check["accuracy"] == pytest.approx(score(model, batches().valid).accuracy)
    assert check["baseline_latency"]["n"] > 0
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(load(bundle)(images), model(images))

    card = (bundle / "README.md").read_text()
    assert "# tiny, trial 0" in card
    assert "| accuracy on valid, 60 images | 20.00 % | 10.00 % |" in card
    assert "processor Example CPU" in card
    assert tomllib.loads((bundle / "study.toml").read_text()) == CONFIG
    origin = json.loads((bundle / "origin.json").read_text())
    assert origin == {
        "trial": 0, "recipe": {"fold": True}, "threads": 1, "baseline_threads": 2,
        "machine": FINGERPRINT, "baseline_sha256": digest_of_weights(baseline),
    }  # fmt: skip


def test_a_trial_without_a_model_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="trial 1 is failed and has no model"):
        export_trial(run[0], 1, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.filterwarnings("ignore")  # of the ONNX exporter
@pytest.mark.usefixtures("checked_here", "onnx")
def test_the_very_int8_file_that_was_measured_is_shipped(run, tmp_path):
    opened, model, _ = run
    record = opened.records[0]
    path = record.folder / INT8_FILE
    write_onnx(model, batches().example, tmp_path / "wide.onnx")
    quantize(tmp_path / "wide.onnx", batches().calibration(64), path)
    session = open_session(path, threads=1, device=torch.device("cpu"))
    accuracy = score(runner(session), batches().valid).accuracy
    opened.records[0] = TrialRecord(
        number=0, state="complete", metrics={"accuracy": accuracy, **METRICS},
        recipe={"fold": True, "precision": "int8"}, folder=record.folder, threads=1, **COMMON,
    )  # fmt: skip

    returned = export_trial(opened, 0, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "model-int8.onnx").read_bytes() == path.read_bytes()
    assert returned["checks"]["model-int8.onnx"]["accuracy"] == pytest.approx(accuracy)
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "- **int8**: the numbers above are those of `model-int8.onnx`" in card

    path.unlink()
    with pytest.raises(RunError, match=r"model\.int8\.onnx is missing"):
        export_trial(opened, 0, tmp_path / "other")
