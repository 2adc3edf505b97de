"""A study that chooses between float32 and int8: what counts is the file that is kept."""

import shutil

import pytest
import torch

from autocompress.errors import RunError
from autocompress.events import ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.problem import problem_from
from autocompress.recipe_text import recipe_in_short
from autocompress.runs import Run, layout
from autocompress.runs.store import load_state
from autocompress.study.final import deployed_for
from autocompress.study.remeasure import remeasure
from autocompress.study.run import run_study
from autocompress.targets import Artifact
from autocompress.training.evaluation import evaluate

from small_studies import STUDY, study_in

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the ONNX exporter


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    text = STUDY.split("[search]")[0] + '[search]\nprecision = ["fp32", "int8"]\n'
    settings = ["study.trials=2", "target.runtime=onnxruntime", "training.recovery_epochs=0"]
    return study_in(tmp_path_factory.mktemp("precise"), *settings, text=text)


@pytest.fixture(scope="module")
def precise(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return run_study(config, directory=folder, executor=InlineExecutor())


@pytest.fixture(scope="module")
def problem(config):
    return problem_from(config)


def scored(path, problem, loader):
    content = path.read_bytes()
    artifact = Artifact(content=content, format="onnx", precision="int8", size_bytes=len(content))
    session = problem.target.open(artifact, problem.example)
    return evaluate(session.run, loader, problem.task)["accuracy"]


def test_an_int8_trial_is_scored_by_the_file_in_its_folder(precise, problem):
    full, quantized = precise.trials()
    assert (full.precision, quantized.precision) == ("fp32", "int8")
    assert not (full.folder / layout.ARTIFACT).exists()
    path = quantized.folder / layout.ARTIFACT
    assert scored(path, problem, problem.data.valid) == quantized.searched["accuracy"]
    assert quantized.searched["size_bytes"].value == path.stat().st_size
    assert quantized.searched["parameters"] == full.searched["parameters"]
    assert recipe_in_short(quantized.recipe) == "fold · int8"


def test_its_weights_stay_in_float32(precise, problem):
    full, quantized = precise.trials()
    model = load_state(quantized.folder, problem.model.structure()).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    found = evaluate(model, problem.data.valid, problem.task)["accuracy"]
    assert found == full.searched["accuracy"]


def test_the_final_evaluation_is_about_the_file_too(precise, problem):
    quantized = precise.trial(1)
    path = quantized.folder / layout.ARTIFACT
    _, artifact = deployed_for(quantized, problem, None)
    assert artifact.content == path.read_bytes()
    for trial in precise.front():
        assert trial.metrics["latency_ms"].value > 0
        if trial.precision == "int8":
            assert trial.metrics["test_accuracy"] == scored(path, problem, problem.data.test)
            assert trial.final_stages[-1].stage == "int8"


def test_remeasuring_measures_the_file(precise, tmp_path):
    copied = Run.open(shutil.copytree(precise.path, tmp_path / "micro"))
    assert [row.trial for row in remeasure(copied, [1], ignore).trials] == [1]
    (copied.trial(1).folder / layout.ARTIFACT).unlink()
    with pytest.raises(RunError, match="00001 is damaged: a file was"):
        remeasure(copied, [1], ignore)
