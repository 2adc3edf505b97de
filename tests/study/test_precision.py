"""A study that chooses between float32 and int8: what is judged is the file that is kept."""

import shutil

import pytest
import torch

from autocompress.config import load_study
from autocompress.errors import RunError
from autocompress.search.workbench import INT8_FILE
from autocompress.study.benching import bench
from autocompress.study.last_word import reload_deployed, reload_trial
from autocompress.study.preparation import load_batches
from autocompress.study.records import Run
from autocompress.study.running import run
from autocompress.targets.onnx_files import open_session, runner
from autocompress.training.evaluation import evaluate, score
from autocompress.wording import recipe_in_short

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the ONNX exporter

STUDY = """
[study]
name = "precise"
trials = 2
harvest = false

[data]
source = "digits"
image_size = 8
batch_size = 50
train_limit = 300
valid_limit = 150
test_limit = 150

[model]
factory = "autocompress:vgg_small"
kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }
epochs = 3
learning_rate = 1e-2

[training]
epochs = 1
recovery_epochs = 0

[latency]
device = "cpu"
runtime = "onnxruntime"
budget_s = 0.1

[search]
precision = ["fp32", "int8"]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("precise") / "study.toml"
    path.write_text(STUDY)
    return load_study(path)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    return run(config, directory=tmp_path_factory.mktemp("runs"))


def test_an_int8_trial_is_judged_by_the_file_in_its_folder(finished, config):
    full, quantized = finished.trials()
    assert (full.precision, quantized.precision) == ("fp32", "int8")
    assert not (full.folder / INT8_FILE).exists()
    path, batches = quantized.folder / INT8_FILE, load_batches(config)
    files_run = runner(open_session(path, threads=1, device=torch.device("cpu")))
    assert score(files_run, batches.valid).accuracy == quantized.metrics["accuracy"]
    assert quantized.metrics["size_bytes"] == path.stat().st_size
    assert quantized.metrics["parameters"] == full.metrics["parameters"]
    assert recipe_in_short(quantized.recipe) == "fold · int8"


def test_its_weights_stay_in_float32(finished, config):
    full, quantized = finished.trials()
    batches = load_batches(config)
    model = reload_trial(quantized, config.model, batches.splits)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert evaluate(model, batches.valid).accuracy == full.metrics["accuracy"]


def test_the_last_word_is_about_the_file_too(finished, config):
    batches = load_batches(config)
    quantized = finished.trial(1)
    again = reload_deployed(quantized, config.model, batches, torch.device("cpu"))
    assert again.artifact == (quantized.folder / INT8_FILE).read_bytes()
    for trial in finished.front():
        assert trial.metrics["final_latency_ms"] > 0
        if trial.precision == "int8":
            path = trial.folder / INT8_FILE
            files_run = runner(open_session(path, threads=1, device=torch.device("cpu")))
            accuracy = score(files_run, batches.test).accuracy
            assert trial.metrics["test_accuracy"] == accuracy


def test_bench_measures_the_file(finished, tmp_path):
    copied = Run.open(shutil.copytree(finished.path, tmp_path / "precise"))
    assert [row["trial"] for row in bench(copied, [1], lambda _: None)["trials"]] == [1]
    (copied.trial(1).folder / INT8_FILE).unlink()
    with pytest.raises(RunError, match="00001 is damaged: a file was"):
        bench(copied, [1], lambda _: None)
