import os
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from autocompress import models
from autocompress.errors import RunError
from autocompress.export import export_trial, load
from autocompress.graph import Remove, plan_of, remove
from autocompress.study.trials import TrialRecord

KWARGS = {"widths": [4, 4], "hidden": 16}


@pytest.fixture
def run(tmp_path):
    """What exporting needs of a run with two trials: one complete, one failed."""
    torch.manual_seed(0)
    model = models.build("autocompress:vgg_small", KWARGS, num_classes=10, channels=1).eval()
    cut = {("classifier.0.weight", 0): (0, 5), ("classifier.0.bias", 0): (0, 5)}
    remove(model, Remove({**cut, ("classifier.3.weight", 1): (0, 5)}))
    folder = tmp_path / "trials" / "00000"
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "weights.safetensors")
    (folder / "plan.json").write_text(plan_of(model).to_json())
    common = {
        "reason": None, "stage": None, "violations": {}, "params": {}, "seconds": {},
        "started": None, "finished": None, "feasible": True,
    }  # fmt: skip
    records = [
        TrialRecord(
            number=0, state="complete", metrics={"accuracy": 0.1}, recipe={"fold": True},
            folder=folder, **common,
        ),
        TrialRecord(number=1, state="failed", metrics={}, recipe={}, folder=None, **common),
    ]  # fmt: skip
    config = {
        "study": {"name": "tiny"},
        "data": {"source": "digits", "valid_limit": 60},
        "model": {"factory": "autocompress:vgg_small", "kwargs": KWARGS},
        "search": {"sparsity": {"low": 0.0, "high": 0.5}},
    }
    return SimpleNamespace(
        name="tiny", config=config, baseline={"accuracy": 0.2}, trial=records.__getitem__
    ), model


def test_a_trial_becomes_a_verified_bundle(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    opened, model = run
    returned = export_trial(opened, 0, tmp_path / "bundle")
    assert returned["checks"]["model.pt2"]["images"] == 60
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(load(tmp_path / "bundle")(images), model(images))
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "# tiny, trial 0" in card
    assert "| accuracy | 0.2 | 0.1 |" in card


def test_a_trial_without_a_model_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="trial 1 is failed and has no model"):
        export_trial(run[0], 1, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
