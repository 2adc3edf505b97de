"""A bundle's recipe run again: the same numbers where nothing changed, and drift where it did."""

import json
from types import SimpleNamespace

import pytest
import torch

from autocompress.artifacts import write_json
from autocompress.bundles import export_trial, reproduce
from autocompress.bundles.loading import digest_of_file
from autocompress.config import study_from
from autocompress.context import prepare
from autocompress.errors import UsageError
from autocompress.events import ignore
from autocompress.metrics.splits import on_test
from autocompress.problem import problem_from
from autocompress.recipe import Recipe
from autocompress.runs import TrialRecord, layout
from autocompress.runs.store import load_state, load_trainable
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Training
from autocompress.trial import run_trial

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
    "target": {"budget_s": 0.1, "threads": 1, "device": "cpu"},
    "search": {"sparsity": [0.25, 0.5]},
}  # fmt: skip
RECIPES = tuple(
    Recipe(
        sparsification=Sparsification(sparsity=sparsity, granularity="filter"),
        pruning=Pruning(),
        training=Training(epochs=1, recovery_epochs=1, learning_rate=3e-3),
    )
    for sparsity in (0.25, 0.5)
)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Of a trial, and of one that started from its weights."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("again")
    problem = problem_from(study_from(CONFIG))
    context = prepare(problem, folder, ignore)
    records = []

    def on_test_split(model):
        scores = evaluate(model, problem.data.test, problem.task)
        return {f"test_{name}": found for name, found in scores.items()}

    for number, (recipe, start) in enumerate(zip(RECIPES, (None, 0), strict=True)):
        begin = None
        if start is not None:
            begin = load_trainable(records[start].folder, problem.model.structure())
        result = run_trial(recipe, context, name=f"{number:05d}", start=begin)
        home = layout.trial_folder(folder, number)
        model = load_state(home, problem.model.structure()).model
        records.append(
            TrialRecord(
                number=number, state=result.state, start=start, recipe=result.recipe,
                metrics={**result.metrics, **on_test_split(model)}, curve=result.curve,
                threads=result.threads, folder=home, sha256=result.sha256,
            )
        )  # fmt: skip
    run = SimpleNamespace(
        name="again",
        damages=tuple,
        path=folder,
        config=CONFIG,
        trial=records.__getitem__,
        score=problem.task.score,
        fingerprint=dict(problem.target.fingerprint()),
        metrics={m.name: m for m in (*problem.metrics, on_test(problem.task.score))},
        baseline={**context.baseline_metrics, **on_test_split(context.baseline)},
    )
    return [export_trial(run, number, folder / f"bundle{number}").path for number in (0, 1)]


def drifts(found, *, measured):
    return {
        (row.of, row.metric): row.drift
        for row in found.numbers
        if (row.metric == "latency_ms") == measured
    }


@pytest.fixture(scope="module")
def found(bundles):
    return reproduce(bundles[0])


def test_the_same_machine_gives_the_same_model_to_the_last_bit(found, bundles):
    assert (found.bundle, found.trial) == (bundles[0], 0)
    assert found.same_baseline
    assert found.same_model
    assert found.differences == ()
    exact = drifts(found, measured=False)
    assert set(exact.values()) == {0}
    for name in ("accuracy", "test_accuracy", "parameters", "macs", "nonzero", "size_bytes"):
        assert {("baseline", name), ("model", name)} <= exact.keys()
    assert json.loads(json.dumps(found.to_dict()))["same_model"]


def test_every_measured_number_is_measured_again(found):
    rows = {(row.of, row.metric): row for row in found.numbers}
    latency = rows["model", "latency_ms"]
    assert latency.again > 0
    assert latency.drift == latency.again - latency.bundle
    assert None not in drifts(found, measured=True).values()


def test_a_trial_that_started_from_another_is_made_from_its_recipe_too(bundles):
    origin = json.loads((bundles[1] / "origin.json").read_text())
    assert [recipe["sparsification"]["sparsity"] for recipe in origin["chain"]] == [0.25, 0.5]
    found = reproduce(bundles[1])
    assert found.same_model
    assert set(drifts(found, measured=False).values()) == {0}


def change(bundle, name, edit):
    """Edit a JSON file of a bundle, and its digest in the index."""
    data = json.loads((bundle / name).read_text())
    edit(data)
    write_json(bundle / name, data)
    index = json.loads((bundle / "bundle.json").read_text())
    index["files"][name]["sha256"] = digest_of_file(bundle / name)
    write_json(bundle / "bundle.json", index)


def test_another_recipe_or_machine_shows(bundles, tmp_path):
    copied = tmp_path / "bundle"
    copied.mkdir()
    for path in bundles[0].iterdir():
        (copied / path.name).write_bytes(path.read_bytes())

    def edit(origin):
        origin["chain"][0]["sparsification"]["sparsity"] = 0.5
        origin["machine"]["cpu"] = "another"

    change(copied, "origin.json", edit)
    found = reproduce(copied)
    assert found.same_baseline
    assert not found.same_model
    assert [text.split(":")[0] for text in found.differences] == ["cpu"]
    assert drifts(found, measured=False)["model", "parameters"] < 0
    assert drifts(found, measured=False)["baseline", "parameters"] == 0

    (copied / "study.toml").write_text("changed")
    with pytest.raises(UsageError, match=r"study\.toml was changed"):
        reproduce(copied)


def test_a_bundle_that_is_from_no_run_is_refused(exported):
    told = r"was not exported from a run.* has no origin\.json and no study\.toml"
    with pytest.raises(UsageError, match=told):
        reproduce(exported[1])
