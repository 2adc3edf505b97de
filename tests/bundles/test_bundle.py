"""What a bundle holds, and that it appears whole or not at all."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import autocompress
from autocompress.artifacts import digest_of_file
from autocompress.bundles import FORMATS, ModelSpec, load
from autocompress.bundles.contents import numbers
from autocompress.bundles.formats import Exportable
from autocompress.bundles.formats.pt2 import Pt2
from autocompress.bundles.verify import verify
from autocompress.errors import ConfigurationError, UsageError, VerificationError
from autocompress.graph import Plan

from little_bundles import CARD, CLASSES, SPEC, compressed, export, labelled, material

FILES = {
    "README.md", "bundle.json", "curve.svg", "golden.safetensors", "labels.txt", "layers.svg",
    "metrics.json", "model.pt2", "plan.json", "preprocess.json", "recipe.toml",
    "weights.safetensors",
}  # fmt: skip


@pytest.fixture
def changeable(exported, tmp_path):
    """A copy of the bundle."""
    target = tmp_path / "copy"
    target.mkdir()
    for path in exported[1].iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_bundle_has_all_its_files_and_leaves_nothing_beside_it(exported):
    _, folder, returned = exported
    assert {path.name for path in folder.iterdir()} == FILES
    assert list(folder.parent.iterdir()) == [folder]
    assert returned.path == folder
    assert returned.rejected == {}
    assert returned.files == {
        path.name: path.stat().st_size for path in folder.iterdir() if path.name != "bundle.json"
    }


def test_whoever_may_read_the_folder_may_read_all_files(exported):
    _, folder, _ = exported
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {folder.stat().st_mode & 0o666}


def test_the_index_has_the_digest_of_every_other_file(exported):
    _, folder, _ = exported
    index = json.loads((folder / "bundle.json").read_text())
    assert set(index["files"]) == FILES - {"bundle.json"}
    for name, entry in index["files"].items():
        assert entry["sha256"] == digest_of_file(folder / name)
    assert index["versions"]["torch"] == torch.__version__


def test_the_text_files_say_what_was_given(exported):
    _, folder, returned = exported
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    settings = {"sparsity": 0.4, "granularity": "filter", "exclude": []}
    assert recipe == {"sparsification": settings, "fold": True}
    assert (folder / "labels.txt").read_text().splitlines() == list(CLASSES)
    metrics = json.loads((folder / "metrics.json").read_text())
    checks = {name: check.to_dict() for name, check in returned.checks.items()}
    assert metrics == {**numbers(CARD), "checks": checks}
    assert metrics["model"]["accuracy"] == {"value": 0.89, "low": 0.8, "high": 0.95, "n": 30}
    assert json.loads(json.dumps(returned.to_dict()))["checks"] == checks
    preprocess = json.loads((folder / "preprocess.json").read_text())
    assert (preprocess["image_size"], preprocess["mean"]) == (8, [0.3])
    assert preprocess["scale"] == 1 / 255
    assert preprocess["steps"] == [{"operation": "stretch", "side": 8}]


def test_the_card_tells_numbers_layers_and_checks_beside_the_baseline(exported):
    _, folder, returned = exported
    card = (folder / "README.md").read_text()
    assert "# digits, trial 3" in card
    assert "A network for classification with 4 classes (zero, one, two, three)" in card
    row = "| accuracy, 30 items | 90.00 % | 89.00 % (80.00 to 95.00) | -1.00 points |"
    assert row in card
    assert "| parameters | 2.00 k | 1.00 k | 0.50x |" in card
    assert "| `classifier.3` | Linear | 16x16 | 3x14 + 16x3 | 3 | 106 | 0.39x |" in card
    check = returned.checks["model.pt2"]
    assert f"| `model.pt2` | {check.difference:.1e} | 80.00 % | 30 | 100.00 % |" in card
    assert f"torch {torch.__version__}" in card
    for picture in ("curve.svg", "layers.svg"):
        assert f"]({picture})" in card
        root = ElementTree.fromstring((folder / picture).read_text())
        assert root.tag.endswith("svg")


def test_golden_outputs_are_the_models(exported):
    model, folder, _ = exported
    golden = load_file(folder / "golden.safetensors")
    assert len(golden["inputs"]) == 16
    with torch.no_grad():
        torch.testing.assert_close(model(golden["inputs"]), golden["outputs"])


def test_a_loaded_bundle_gives_the_same_outputs_and_can_be_trained(exported):
    model, folder, _ = exported
    loaded = autocompress.load(folder)
    images = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(loaded(images), model(images))
    assert not loaded.training
    loaded.train()
    optimizer = torch.optim.SGD(loaded.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in loaded.parameters()]
    nn.functional.cross_entropy(loaded(images), torch.tensor([0, 1, 2, 3, 0])).backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, loaded.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # PyTorch 2.11's own
def test_the_exported_graph_runs_any_batch_and_has_the_metadata(exported):
    model, folder, _ = exported
    texts = {"labels": "", "preprocess": ""}
    graph = torch.export.load(folder / "model.pt2", extra_files=texts).module()
    for count in (1, 7):
        images = torch.randn(count, 1, 8, 8)
        torch.testing.assert_close(graph(images), model(images))
    assert json.loads(texts["labels"]) == list(CLASSES)
    assert json.loads(texts["preprocess"]) == json.loads((folder / "preprocess.json").read_text())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.safetensors", b"other", "sha256 differs"),
        ("plan.json", b"{}", "sha256 differs"),
        ("plan.json", None, "plan.json is missing"),
        ("bundle.json", None, "not a bundle: it has no bundle.json"),
        ("bundle.json", b"{", "not valid JSON"),
        ("bundle.json", b"{}", "another program's file"),
        ("bundle.json", b'{"format": "autocompress-bundle", "version": 9}', "version 9"),
    ],
)
def test_damaged_bundles_are_refused(changeable, name, content, message):
    (changeable / name).unlink()
    if content is not None:
        (changeable / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(changeable)


def test_a_bundle_of_release_0_1_is_loaded(changeable, exported):
    path = changeable / "bundle.json"
    index = json.loads(path.read_text())
    old = {"agreement": 1.0, "accuracy": 0.8, "images": 30, "failed": None}
    index |= {"version": 1, "checks": {"model.pt2": old}, "expected": {}}
    del index["task"]
    path.write_text(json.dumps(index))
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(load(changeable)(images), exported[0](images))
    assert verify(changeable)["model.pt2"].failed is None


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a bundle"):
        load(tmp_path / "nowhere")


def test_verifying_notices_any_changed_file(changeable):
    found = verify(changeable)
    assert {name: check.failed for name, check in found.items()} == {
        "model.pt2": None, "weights.safetensors": None,
    }  # fmt: skip
    (changeable / "labels.txt").write_text("others\n")
    with pytest.raises(UsageError, match=r"labels.txt was changed"):
        verify(changeable)


def test_a_bundle_whose_weights_fail_is_not_written(tmp_path):
    wrong = ModelSpec(factory=SPEC.factory, kwargs={"hidden": 20}, num_classes=4, channels=1)
    with pytest.raises(VerificationError, match=r"was not written: .*weights\.safetensors"):
        export(tmp_path / "bundle", spec=wrong, verifier=verify)
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_is_replaced_on_demand_and_anything_else_never(changeable, tmp_path):
    (changeable / "labels.txt").write_text("old\n")
    with pytest.raises(UsageError, match="is a bundle already; replace it with --force"):
        export(changeable)
    assert (changeable / "labels.txt").read_text() == "old\n"
    model = compressed().train()
    export(changeable, model, force=True, verifier=verify)
    assert model.training
    assert (changeable / "labels.txt").read_text().startswith("zero")

    (changeable / "notes.txt").write_text("precious")
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.tex").write_text("precious")
    for target, message in (
        (foreign, "left as it is"),
        (foreign / "chapter1.tex", "is a file"),
        (changeable, r"not the bundle's \(notes.txt\)"),
    ):
        with pytest.raises(UsageError, match=message):
            export(target, force=True)
    assert (foreign / "chapter1.tex").read_text() == "precious"
    assert (changeable / "notes.txt").read_text() == "precious"


def test_an_empty_folder_is_a_place_for_a_bundle(tmp_path):
    (tmp_path / "new").mkdir()
    assert export(tmp_path / "new", verifier=verify).rejected == {}


def test_unknown_formats_and_missing_images_are_refused(tmp_path):
    model = compressed()
    with pytest.raises(ConfigurationError, match=r"unknown format 'pt'.*allowed: pt2, onnx"):
        export(tmp_path / "b", formats=("pt",))
    with pytest.raises(UsageError, match="expected inputs to check with"):
        export(tmp_path / "b", material=material(model, validation=()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.packages])
def test_a_missing_package_is_named_with_what_installs_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    kind = FORMATS[name]
    message = rf"{kind.packages[0]}.*: pip install 'autocompress\[{kind.extra}\]'"
    with pytest.raises(ConfigurationError, match=message):
        export(tmp_path / "b", formats=(name,))
    assert list(tmp_path.iterdir()) == []


class FullDisk(Pt2):
    """A format that finds the disk full."""

    filename = "model.full"

    @staticmethod
    def write(source, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Unwritable(Pt2):
    """A format that can't express the model."""

    filename = "model.none"

    @staticmethod
    def write(source, path):
        path.write_bytes(b"half")
        raise RuntimeError("no rule for aten::bucketize")


@pytest.fixture
def formats_of_tests():
    for kind in (FullDisk, Unwritable):
        FORMATS.register(kind)
    yield
    for kind in (FullDisk, Unwritable):
        FORMATS.unregister(kind.__name__)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("formats_of_tests")
def test_a_full_disk_leaves_the_older_bundle_and_nothing_else(changeable, monkeypatch):
    before = {path.name: path.read_bytes() for path in changeable.iterdir()}

    def after_which_the_disk_is_full(folder, extra):
        found = verify(folder, extra)
        monkeypatch.setattr(Path, "write_text", full_disk)
        return found

    for options in (
        {"formats": ("FullDisk",)},
        {"verifier": full_disk},
        {"verifier": after_which_the_disk_is_full},
    ):
        with pytest.raises(OSError, match="No space left"):
            export(changeable, force=True, **options)
        assert {path.name: path.read_bytes() for path in changeable.iterdir()} == before
        assert list(changeable.parent.iterdir()) == [changeable]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_graph_that_is_written_to_a_full_disk_raises(tmp_path):
    images = torch.randn(2, 1, 8, 8)
    source = Exportable(model=compressed(), example=images, calibration=images)
    with pytest.raises(OSError, match="No space left"):
        Pt2.write(source, Path("/dev/full"))


def test_the_older_bundle_comes_back_where_the_new_one_cannot_be_put(changeable, monkeypatch):
    before = {path.name: path.read_bytes() for path in changeable.iterdir()}
    rename = Path.rename

    def failing(path, target):
        return full_disk() if path.name == "bundle" else rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space left"):
        export(changeable, force=True, verifier=verify)
    assert {path.name: path.read_bytes() for path in changeable.iterdir()} == before


@pytest.mark.usefixtures("formats_of_tests")
def test_what_cannot_be_written_is_missing_with_its_reason(tmp_path):
    found = export(tmp_path / "bundle", formats=("Unwritable",), verifier=verify)
    reason = "model.none can't be written: no rule for aten::bucketize"
    assert found.unwritten == {"model.none": reason}
    assert not (tmp_path / "bundle" / "model.none").exists()
    assert f"Missing: {reason}" in (tmp_path / "bundle" / "README.md").read_text()
    assert load(tmp_path / "bundle") is not None


def meanwhile(do):
    """Return a verifier during which somebody does something."""

    def verifier(folder, material):
        do()
        return verify(folder, material)

    return verifier


@pytest.mark.parametrize("force", [False, True])
def test_what_appears_while_a_bundle_is_written_is_left_as_it_is(tmp_path, force):
    notes = tmp_path / "bundle" / "notes.txt"

    def write():
        notes.parent.mkdir(exist_ok=True)
        notes.write_text("precious")

    if force:
        export(tmp_path / "bundle", verifier=verify)
    with pytest.raises(UsageError, match="left as it is"):
        export(tmp_path / "bundle", force=force, verifier=meanwhile(write))
    assert notes.read_text() == "precious"
    assert (tmp_path / "bundle" / "bundle.json").exists() == force
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_of_two_exports_into_one_folder_the_second_is_refused(tmp_path):
    other = meanwhile(lambda: export(tmp_path / "bundle", verifier=verify))
    with pytest.raises(UsageError, match="is a bundle already"):
        export(tmp_path / "bundle", verifier=other)
    assert load(tmp_path / "bundle")


KILLED_WHILE_CHECKING = """
import os, signal, sys
from pathlib import Path
from little_bundles import export
export(Path(sys.argv[1]), verifier=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_kill_in_the_middle_leaves_no_bundle_and_does_not_block_the_next(tmp_path):
    command = [sys.executable, "-c", KILLED_WHILE_CHECKING, str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "bundle").exists()
    assert len(list(tmp_path.iterdir())) == 1  # what the kill left
    export(tmp_path / "bundle", verifier=verify)
    assert load(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_users_models_with_tied_weights_and_a_fixed_batch(tmp_path, monkeypatch, caplog):
    (tmp_path / "mine_tied.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first = nn.Linear(64, 64)\n"
        "        self.second = nn.Linear(64, 64)\n"
        "        self.second.weight = self.first.weight\n"
        "        self.head = nn.Linear(64, 4)\n"
        "    def forward(self, images):\n"
        "        flat = torch.stack([image.flatten() for image in images])\n"
        "        return self.head(self.second(torch.relu(self.first(flat))))\n"
        "def net(): return Tied()\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = ModelSpec(factory="mine_tied:net", num_classes=4, channels=1)
    try:
        model = spec.build().eval()
        about = material(model, baseline=None, validation=labelled(model))
        options = {"spec": spec, "plan": Plan(), "material": about}
        options["verifier"] = partial(verify, allow=["mine_tied"])
        with caplog.at_level(logging.WARNING, "autocompress"):
            returned = export(tmp_path / "bundle", model, **options)
    finally:
        sys.modules.pop("mine_tied")
    assert returned.checks["model.pt2"].batch == 1
    assert returned.checks["model.pt2"].agreement == 1
    assert "one input at a time" in caplog.text
    assert "second.weight" not in load_file(tmp_path / "bundle" / "weights.safetensors")
    assert not (tmp_path / "bundle" / "layers.svg").exists()
