"""A bundle's recipe run again: the same numbers where nothing changed, and drift where it did."""

import json
from types import SimpleNamespace

import pytest
import torch

from autocompress.artifacts import write_json
from autocompress.bundles import export_trial, reproduce
from autocompress.bundles.loading import digest_of_file
from autocompress.config import study_from
from autocompress.errors import UsageError
from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.study.preparation import latency_settings, load_batches, prepare
from autocompress.study.trials import TrialRecord
from autocompress.targets.fingerprint import fingerprint
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Training

CONFIG = {
    "study": {"name": "again", "seed": 3},
    "data": {
        "source": "digits", "image_size": 8, "batch_size": 50,
        "train_limit": 300, "valid_limit": 100, "test_limit": 100,
    },
    "model": {
        "factory": "autocompress:vgg_small",
        "kwargs": {"widths": [8, 16], "layers_per_stage": 1, "hidden": 32, "dropout": 0.0},
        "epochs": 2,
        "learning_rate": 1e-2,
    },
    "latency": {"budget_s": 0.1, "threads": 1},
    "search": {"sparsity": [0.25, 0.5]},
}  # fmt: skip
RECIPE = Recipe(
    sparsification=Sparsification(sparsity=0.5, granularity="filter"),
    pruning=Pruning(),
    training=Training(epochs=1, recovery_epochs=1, learning_rate=3e-3),
)
MEASURED = ("latency", "ratio")  # in names of metrics that differ from time to time


def silently(_):
    """Hear nothing."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """What a study makes and exports, without its search."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("again")
    config = study_from(CONFIG)
    bench = prepare(config, folder, load_batches(config), silently)
    compressed = compress(
        bench.baseline, RECIPE, bench.batches, anatomy=bench.anatomy, seed=bench.seed
    )
    judgement = bench.judge(compressed.model, "fp32")
    bench.save("00000", RECIPE, compressed, judgement)
    tested = {"test_accuracy": evaluate(compressed.model, bench.batches.test).accuracy}
    again = {"final_latency_ms": judgement.metrics["latency_ms"]}
    record = TrialRecord(
        number=0, state="complete", reason=None, stage=None, violations={}, params={},
        metrics={**judgement.metrics, **tested, **again}, recipe=RECIPE.to_dict(), seconds={},
        started=None, finished=None, feasible=True, folder=bench.folder / "00000", threads=1,
    )  # fmt: skip
    baseline = evaluate(bench.baseline, bench.batches.test).accuracy
    run = SimpleNamespace(
        name="again", path=folder, config=CONFIG, trial=lambda _: record,
        fingerprint=fingerprint(latency_settings(config)),
        baseline={**bench.baseline_metrics, "test_accuracy": baseline},
    )  # fmt: skip
    export_trial(run, 0, folder / "bundle")
    return folder / "bundle"


def drifts(found, *, measured):
    return {
        (row["of"], row["metric"]): row["drift"]
        for row in found["numbers"]
        if any(word in row["metric"] for word in MEASURED) == measured
    }


@pytest.fixture(scope="module")
def found(bundle):
    return reproduce(bundle, silently)


def test_the_same_machine_gives_the_same_model_to_the_last_bit(found, bundle):
    assert (found["bundle"], found["trial"]) == (str(bundle), 0)
    assert found["same_baseline"]
    assert found["same_model"]
    assert found["differences"] == []
    exact = drifts(found, measured=False)
    assert set(exact.values()) == {0}
    for name in ("accuracy", "test_accuracy", "parameters", "macs", "nonzero", "size_bytes"):
        assert {("baseline", name), ("model", name)} <= exact.keys()
    json.dumps(found)


def test_every_measured_number_is_measured_again(found):
    rows = {(row["of"], row["metric"]): row for row in found["numbers"]}
    latency = rows["model", "latency_ms"]
    assert latency["again"] > 0
    assert latency["drift"] == latency["again"] - latency["bundle"]
    assert rows["model", "final_latency_ms"]["again"] == latency["again"]
    assert None not in drifts(found, measured=True).values()


def change(bundle, name, edit):
    """Edit a JSON file of a bundle, and its digest in the index."""
    data = json.loads((bundle / name).read_text())
    edit(data)
    write_json(bundle / name, data)
    index = json.loads((bundle / "bundle.json").read_text())
    index["files"][name]["sha256"] = digest_of_file(bundle / name)
    write_json(bundle / "bundle.json", index)


def test_another_recipe_or_machine_shows(bundle, tmp_path):
    copied = tmp_path / "bundle"
    copied.mkdir()
    for path in bundle.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())

    def edit(origin):
        origin["recipe"]["sparsification"]["sparsity"] = 0.25
        origin["machine"]["cpu"] = "another"

    change(copied, "origin.json", edit)
    found = reproduce(copied, silently)
    assert found["same_baseline"]
    assert not found["same_model"]
    assert [text.split(":")[0] for text in found["differences"]] == ["cpu"]
    assert drifts(found, measured=False)["model", "parameters"] > 0
    assert drifts(found, measured=False)["baseline", "parameters"] == 0

    (copied / "study.toml").write_text("changed")
    with pytest.raises(UsageError, match=r"study\.toml was changed"):
        reproduce(copied, silently)


def test_a_bundle_that_is_from_no_run_is_refused(exported):
    told = r"was not exported from a run.* has no origin\.json and no study\.toml"
    with pytest.raises(UsageError, match=told):
        reproduce(exported[1], silently)
