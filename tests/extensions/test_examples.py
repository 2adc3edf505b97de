"""Each example goes from the search to the front, tables, the page, the report and a bundle."""

import json
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

import autocompress as ac
from autocompress.dashboard.server import make_app

EXAMPLES_FOLDER = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and loaders


@pytest.fixture(scope="module")
def search(example, tmp_path_factory):
    """Run an example once."""
    runs = {}

    def search(name):
        if name not in runs:
            runs[name] = example(name).main(str(tmp_path_factory.mktemp("runs")), trials=2)
        return runs[name]

    return search


EXAMPLES = (
    "own_metric",
    "segmentation",
    "fastai_learner",
    "own_model_and_data",
    "own_target",
    "own_executor",
    "own_allocation",
    "own_stage",
    "own_names",
    "own_start",
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_from_search_to_report(name, search, call, tmp_path):
    run = search(name)
    assert [t.failure for t in run.trials() if t.state == "failed"] == []
    assert run.front()
    chosen = run.pick("balanced")
    code, shown = call("show", run.path, chosen.number)
    assert code == 0
    for metric in run.objectives:
        assert metric.title in shown
    code, front = call("front", run.path, "--json")
    assert code == 0
    for metric in run.objectives:
        assert metric.name in front
    code, _ = call("report", run.path, "-o", tmp_path / "report.html")
    assert code == 0
    assert run.name in (tmp_path / "report.html").read_text(encoding="utf-8")
    with TestClient(make_app(run.path), base_url="http://127.0.0.1") as client:
        assert client.get("/").status_code == 200
        for part in ("overview", "trials", "space"):
            assert client.get(f"/api/runs/{run.name}/{part}").status_code == 200


def test_a_metric_of_ones_own_is_a_fourth_objective(search):
    run = search("own_metric")
    assert [m.name for m in run.objectives][3] == "activations_kb"
    lean = run.pick("lean")
    own = {t.number: t.metrics["activations_kb"].value for t in run.front()}
    assert own[lean.number] == min(own.values())
    assert all(v <= 0.9 * run.baseline["activations_kb"].value for v in own.values())
    refused = [t for t in run.trials() if not t.feasible and t.state == "complete"]
    assert all("activations_kb_ratio" in t.violations for t in refused)
    assert "activations_kb" in run.table().columns
    assert not run.front({"activations_kb": min(own.values()) / 2})


def test_a_metric_of_ones_own_is_an_axis_a_slider_and_a_column(search, call):
    run = search("own_metric")
    with TestClient(make_app(run.path), base_url="http://127.0.0.1") as client:
        overview = client.get(f"/api/runs/{run.name}/overview").json()
        trials = client.get(f"/api/runs/{run.name}/trials").json()
    tradeoff = overview["tradeoff"]
    assert tradeoff["columns"]["activations_kb"]["title"] == "activations (kB)"
    assert "activations_kb" in [choice["name"] for choice in tradeoff["choices"]]
    assert "lean" in [ranking["how"] for ranking in tradeoff["rankings"]]
    assert "activations" in json.dumps(trials)
    code, front = call("front", run.path, "--max", "activations_kb=1000")
    assert code == 0
    assert "activations" in front
    assert call("front", run.path, "--max", "activations_kb=0.001")[0] == 3


def test_a_stage_of_ones_own_is_in_recipe_and_stages(search):
    trial = next(t for t in search("own_stage").trials() if t.state == "complete")
    digits = trial.recipe["extra"]["round_weights"]["digits"]
    stages = {stage.stage: stage.report for stage in trial.stages}
    assert stages["round_weights"] == (f"all weights are rounded to {digits} digits",)


def test_names_of_ones_own_are_in_recipes(search):
    recipe = search("own_names").front()[-1].recipe
    assert recipe["sparsification"]["schedule"] == "square_root"
    assert recipe["distillation"]["loss"] == "cosine"


def test_an_allocation_of_ones_own_spreads_the_sparsity(search):
    sparse = [t.recipe["sparsification"] for t in search("own_allocation").trials()]
    shares = next(s for s in sparse if s)
    assert shares["sparsity"]["0"] < shares["sparsity"]["3"] < shares["linear_sparsity"]["8"]


def test_the_target_is_the_one_in_another_process(search):
    run = search("own_target")
    assert {"machine", "onnxruntime", "threads", "batch_size"} <= set(run.fingerprint)


def test_trials_start_where_another_ended(search):
    first, second = [t for t in search("own_start").trials() if t.parent is None][:2]
    assert (first.start, second.start) == (None, 0)
    assert second.state == "complete"


@pytest.fixture(scope="module")
def given(example):
    """What ``search`` was given: model, data, task."""
    small, masks = map(example, ("small", "segmentation"))
    task = ac.segmentation(classes=3)
    shapes = {"train": masks.shapes(64, 0), "valid": masks.shapes(64, 1)}
    return {
        "own_start": {"model": small.network(), "data": small.digits()},
        "segmentation": {"model": masks.network(0), "data": shapes, "task": task},
    }


@pytest.mark.parametrize("name", ["segmentation", "own_start"])
def test_a_trial_becomes_a_bundle_that_runs(name, search, given, tmp_path):
    run = search(name)
    chosen, known = run.front()[-1], given[name]
    ac.export_trial(run, chosen.number, tmp_path / "bundle", **known)
    card = (tmp_path / "bundle" / "README.md").read_text()
    for metric in run.objectives:
        assert metric.title in card
    network = ac.load(tmp_path / "bundle", factory=lambda: known["model"])
    program = torch.export.load(tmp_path / "bundle" / "model.pt2").module()
    images = torch.rand(1, 1, *((24, 24) if name == "segmentation" else (8, 8)))
    assert torch.allclose(network(images), program(images), atol=1e-4)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == chosen.metrics["parameters"].value


def test_a_bundle_of_objects_asks_for_them_on_the_command_line(search, call, tmp_path):
    code, told = call("export", search("own_metric").path, "-o", tmp_path / "bundle")
    assert code == 2
    assert "export_trial" in told


def test_a_training_loop_of_ones_own(example, tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES_FOLDER)  # where the functions of its model are found
    folder = example("own_training_loop").main(str(tmp_path), epochs=1)
    program = torch.export.load(folder / "model.pt2").module()
    small = example("small")
    assert program(small.digits()[0][:1]).shape == (1, 10)
    network = ac.load(folder, factory=small.network)
    assert network[0].out_channels == 8
    assert example("own_training_loop").accuracy(network) > 0.5
