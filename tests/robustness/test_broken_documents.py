"""Documents that once ended in a traceback, or took the whole memory: now in one sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autocompress.bundles import load
from autocompress.bundles.contents import METRICS, ORIGIN, STUDY
from autocompress.bundles.loading import INDEX, PLAN, WEIGHTS, digest_of_file
from autocompress.bundles.reproducing import recorded
from autocompress.bundles.verify import verify
from autocompress.config import load_study
from autocompress.dashboard.details import details
from autocompress.documents import MOST_BYTES, parse_json
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.graph import LowRank, Plan, Remove, rebuild
from autocompress.models import build
from autocompress.models.weights import load_weights
from autocompress.runs import Run, layout

from little_bundles import SPEC
from made_up_runs import made_up_run
from one_sentence import told

RELEASE_0_1 = Path(__file__).parents[1] / "runs" / "release_0_1"
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def run(tmp_path):
    return made_up_run(tmp_path / "run", complete=2, failed=1, pruned=0).path


@pytest.fixture
def old(tmp_path):
    return shutil.copytree(RELEASE_0_1, tmp_path / "old")


def change(path, edit):
    """Edit a JSON file in place."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def read(folder):
    opened = Run.open(folder)
    opened.status()
    opened.front_document()
    return opened.structure


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("run.json", lambda d: d.pop("name"), "run.json is damaged: name: missing"),
        ("run.json", lambda d: d.pop("fingerprint"), "fingerprint: missing"),
        ("run.json", lambda d: d.pop("digests"), "digests: missing"),
        ("run.json", lambda d: d.update(objectives=[]), "objectives: expected 1 to 5"),
        ("run.json", lambda d: d.update(created="soon"), "created: expected a time in ISO 8601"),
        ("run.json", lambda d: d.update(more=1), "more: unknown key 'more'"),
        ("baseline/evaluation.json", dict.clear, "evaluation.json is damaged: metrics: missing"),
        (
            "baseline/evaluation.json",
            lambda d: d["metrics"]["accuracy"].update(value="high"),
            "metrics.accuracy.value: expected a number, got 'high'",
        ),
        ("baseline/units.json", dict.clear, "units: missing; fixed: missing"),
        ("final.json", dict.clear, "baseline: missing; trials: missing"),
        ("final.json", lambda d: d["trials"].update(x={}), "trials.x: expected a whole number"),
    ],
)
def test_a_document_of_a_run(run, name, edit, message):
    change(run / name, edit)
    assert message in told(lambda: read(run))


@pytest.mark.parametrize(
    ("change_of", "message"),
    [
        ({"number": -1}, "trials.jsonl:2: not an event of a run: proposed: number: expected"),
        ({"time": "yesterday"}, "time: expected a time in ISO 8601, got 'yesterday'"),
        ({"params": []}, "params: expected a table of keys, got []"),
        ({"event": ["proposed"]}, "event: expected one of session, trained, proposed, ended"),
    ],
)
def test_a_line_of_the_journal(run, change_of, message):
    path = run / layout.JOURNAL
    first, second, *rest = path.read_text().splitlines()
    second = json.dumps({**json.loads(second), **change_of})
    path.write_text("\n".join([first, second, *rest]) + "\n")
    assert message in told(lambda: read(run))


def test_a_trials_folder_stays_within_the_run(run):
    text = (run / layout.JOURNAL).read_text()
    (run / layout.JOURNAL).write_text(text.replace('"folder": "00000"', '"folder": "../.."'))
    assert "folder: expected the name of a folder, got '../..'" in told(lambda: read(run))


def test_a_study_file_without_its_tables(run):
    (run / layout.JOURNAL).unlink()
    for text, message in (
        ("[data]\n", "study.toml is damaged: study.trials: expected a whole number"),
        ("study = 1\n", "study.toml is damaged: study: expected a table of keys"),
        (f"[study]\nx = {DEEP}\n", "study.toml cannot be read: its lists and tables are more"),
        (f"[study]\ntrials = {'9' * 5000}\n", "study.toml cannot be read"),
    ):
        (run / layout.STUDY).write_text(text)
        assert message in told(lambda: read(run))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("baseline/metrics.json", "{}"),
        ("baseline/metrics.json", "[]"),
        ("last_word.json", "{}"),
        ("trials/00000/curve.json", "[1]"),
        ("trials/00000/stages.json", '{"a": 1}'),
        ("run.json", '{"format": 1}'),
    ],
)
def test_a_document_of_release_0_1(old, name, content):
    (old / name).write_text(content)
    assert f"{name} is damaged" in told(lambda: read(old))


def test_a_page_of_the_database_of_release_0_1(old):
    content = bytearray((old / "study.db").read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 200] = b"\xff" * 200
    (old / "study.db").write_bytes(content)
    assert "study.db is not a study's database, or is damaged" in told(lambda: read(old))


def test_documents_are_bounded_before_they_are_parsed():
    assert "its lists and tables are more than 32 deep" in told(
        lambda: parse_json(DEEP.encode(), "x")
    )
    assert "at most" in told(lambda: parse_json(b" " * (MOST_BYTES + 1), "x"))
    for text in ("NaN", "-Infinity", "1e999", "9" * 400, '"\\ud800"', '{"a": '):
        assert told(lambda text=text: parse_json(text.encode(), "x")).startswith("x is not valid")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("files"), "files: missing"),
        (lambda d: d.update(files=[1]), "files: expected a table"),
        (lambda d: d["files"].update({WEIGHTS: None}), "files: expected a table"),
        (
            lambda d: d["files"].update({"../x": {}}),
            "files: expected files of the bundle's folder",
        ),
        (lambda d: d.pop("model"), "model: missing"),
        (lambda d: d["model"].update(more=1), "model.more: unknown key 'more'"),
        (lambda d: d["model"].update(num_classes="ten"), "model.num_classes: expected a whole"),
        (lambda d: d["model"].update(factory=None), "model.factory: expected a text"),
        (lambda d: d["model"].update(kwargs=[1]), "model.kwargs: expected a table of keys"),
        (lambda d: d["model"]["kwargs"].update(hidden="x"), "expected integers of at least 1"),
        (lambda d: d["model"]["kwargs"].update(hidden=10**12), "the model would take more than"),
        (lambda d: d["model"]["kwargs"].update(widths=[10**7, 10**7]), "would take more than"),
        (lambda d: d["model"]["kwargs"].update(layers_per_stage=10**9), "would take more than"),
        (lambda d: d["model"].update(num_classes=10**12), "would take more than"),
        (lambda d: d["latency"].update(threads=10**8), "latency.threads: expected a whole number"),
    ],
)
def test_an_index_of_a_bundle(changeable, edit, message):
    change(changeable / INDEX, edit)
    assert message in told(lambda: load(changeable))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (PLAN, b"\xff\xfe{", "plan.json is not valid JSON"),
        (PLAN, DEEP.encode(), "plan.json is damaged: its lists and tables are more than"),
        (WEIGHTS, b"version https://git-lfs", "does not fit the model"),
    ],
)
def test_a_file_of_a_bundle(changeable, name, content, message):
    (changeable / name).write_bytes(content)
    signed(changeable, name)
    assert message in told(lambda: load(changeable))


def test_golden_outputs_that_cannot_be_read(changeable):
    save_file({"x": torch.zeros(1)}, changeable / "golden.safetensors")
    signed(changeable, "golden.safetensors")
    failed = verify(changeable)[WEIGHTS].failed
    assert failed == "golden.safetensors holds no inputs and outputs to compare with"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ORIGIN, "{}", "origin.json is damaged: trial: missing; chain: missing"),
        (ORIGIN, "[]", "origin.json is damaged: expected a table of keys"),
        (METRICS, "[]", "metrics.json is damaged: expected a table"),
        (METRICS, '{"model": {}}', "metrics.json is damaged: baseline: expected a table"),
        (STUDY, "[study", "study.toml cannot be read"),
    ],
)
def test_what_a_bundle_is_made_again_from(changeable, name, content, message):
    for needed in (ORIGIN, STUDY):
        (changeable / needed).write_text("{}" if needed == ORIGIN else "")
        signed(changeable, needed)
    (changeable / name).write_text(content)
    signed(changeable, name)
    assert message in told(lambda: recorded(changeable))


def signed(folder, name):
    entry = {"sha256": digest_of_file(folder / name), "bytes": 1}
    change(folder / INDEX, lambda document: document["files"].update({name: entry}))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (LowRank("classifier.0", "linear", 10**9), "rank 1000000000 is more than it can have"),
        (Remove({("classifier.0.weight", 0): (99,)}), "index 99 of dimension 0 cannot be removed"),
        (Remove({("classifier.0.weight", 9): (0,)}), "index 0 of dimension 9 cannot be removed"),
        (Remove({}, {"classifier.0.in_features": 10**9}), "it can shrink, and cannot become"),
        (Remove({("nowhere.weight", 0): (0,)}), "has no module 'nowhere'"),
    ],
)
def test_a_plan_that_the_model_does_not_bear(step, message):
    assert message in told(lambda: rebuild(SPEC.build(), Plan((step,))))


def test_a_plan_names_no_more_indices_than_there_can_be():
    text = Plan((Remove({("a", 0): (0,)}),)).to_json()
    for ranges in ("[[0, 1000000000000]]", f"[[0, {2**20}]], " * 5 + "[[0, 1]]"):
        with pytest.raises(UsageError, match="indices"):
            Plan.from_json(text.replace("[[0, 1]]", ranges))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_that_git_lfs_has_not_fetched(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    with pytest.raises(ConfigurationError, match=r"pointer of Git LFS.*git lfs pull"):
        load_weights(SPEC.build(), path)


@pytest.mark.parametrize("content", [b"plain text\n", b"", b"\x80\x02."])
def test_weights_that_are_no_weights(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert "can't be read" in told(lambda: load_weights(SPEC.build(), path))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", ["classifier.6.weight", "classifier.6.bias", "features.0.weight"])
@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_weights_of_another_shape(tmp_path, suffix, name, shape):
    state = {**SPEC.build().state_dict(), name: torch.zeros(shape)}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    message = told(lambda: load_weights(SPEC.build(), path))
    if name.endswith("bias") and shape == (3,):
        assert message == ""  # those of another number of classes
    else:
        assert f"1 wrongly shaped: {name} {list(shape)}" in message


def test_weights_that_claim_more_than_their_file_holds(tmp_path):
    state = {
        **SPEC.build().state_dict(),
        "features.0.weight": torch.zeros(1).expand(6, 10**12, 3, 3),
    }
    torch.save(state, tmp_path / "weights.pt")
    assert "no dense tensor" in told(lambda: load_weights(SPEC.build(), tmp_path / "weights.pt"))


def test_arguments_that_a_function_does_not_expect():
    with pytest.raises(ConfigurationError, match=r"resnet18' can't be built with .*NOPE"):
        build("torchvision:resnet18", {"weights": "NOPE"}, num_classes=2, channels=3)


@pytest.mark.parametrize("text", [f"x = {DEEP}", f"x = {'9' * 5000}", "a." * 50 + "a = 1"])
def test_a_study_file_that_is_too_deep_or_has_too_large_numbers(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"study.toml: not valid TOML"):
        load_study(path)


def test_a_run_of_another_format_is_named(run):
    change(run / "run.json", lambda document: document.update(format=[99]))
    with pytest.raises(RunError, match=r"has format \[99\]; expected 2, or 1 of release 0.1"):
        Run.open(run)


def test_what_a_figure_cannot_draw_of_an_edited_recipe_is_left_out(run):
    text = (run / layout.JOURNAL).read_text()
    for old, new in (
        ('"scope": "local"', '"schedule": "agp", "start": 0.1, "end": null, "scope": 7'),
        ('"linear_sparsity": 0.5', '"linear_sparsity": "half"'),
        ('"epochs": 5', '"epochs": "five"'),
    ):
        (run / layout.JOURNAL).write_text(text.replace(old, new))
        opened = Run.open(run)
        assert details(opened, opened.front()[0].number).figures


def test_importances_do_without_ranges_that_are_none(tmp_path):
    folder = made_up_run(tmp_path / "many", complete=9).path
    text = (folder / layout.STUDY).read_text()
    for low in ('"zero"', "true", "[0]"):
        (folder / layout.STUDY).write_text(text.replace("low = 0.0", f"low = {low}, log = true"))
        assert not Run.open(folder).importances().empty
