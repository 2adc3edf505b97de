import json
import logging
import os
import sys
import tomllib

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import autocompress
from autocompress import models
from autocompress.errors import ConfigurationError, UsageError, VerificationError
from autocompress.export import Card, ModelSpec, bundle, export_bundle, load
from autocompress.export.loading import digest_of_file
from autocompress.export.verify import verify
from autocompress.graph import LowRank, Remove, plan_of, remove, replace_low_rank

SPEC = ModelSpec(
    factory="autocompress:vgg_small",
    kwargs={"widths": [6, 8], "hidden": 16},
    num_classes=4,
    channels=1,
)
CARD = Card(
    name="digits, trial 3",
    classes=("zero", "one", "two", "three"),
    image_size=8,
    mean=(0.3,),
    std=(0.25,),
    recipe={"sparsification": {"sparsity": 0.4, "exclude": []}, "pruning": None, "fold": True},
    metrics={
        "baseline": {"accuracy": 0.9, "parameters": 2000},
        "model": {"accuracy": 0.89, "parameters": 1000, "macs_uncounted": []},
    },
)
FILES = {
    "README.md", "bundle.json", "golden.safetensors", "labels.txt", "metrics.json", "model.pt2",
    "plan.json", "preprocess.json", "recipe.toml", "weights.safetensors",
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_processes_find_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def built(spec=SPEC):
    return models.build(
        spec.factory, spec.kwargs, num_classes=spec.num_classes, channels=spec.channels
    )


def compressed():
    """A vgg_small with pruned units, a factorized layer and running statistics of its own."""
    torch.manual_seed(0)
    model = built()
    model(torch.randn(16, 1, 8, 8))
    cut = {("classifier.0.weight", 0): (1, 2), ("classifier.0.bias", 0): (1, 2)}
    remove(model, Remove({**cut, ("classifier.3.weight", 1): (1, 2)}))
    factors = torch.randn(3, 14), torch.randn(16, 3)
    replace_low_rank(model, LowRank("classifier.3", "linear", 3), factors)
    return model.eval()


def validation(count=3, *, channels=1):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(10, channels, 8, 8, generator=generator)
        yield images, torch.randint(0, 4, (10,), generator=generator)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, its bundle and what exporting returned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        model = compressed()
        folder = tmp_path_factory.mktemp("exports") / "bundle"
        returned = export_bundle(model, folder, spec=SPEC, card=CARD, validation=validation())
    return model, folder, returned


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
    assert returned["bundle"] == str(folder)
    assert returned["files"] == {
        path.name: path.stat().st_size for path in folder.iterdir() if path.name != "bundle.json"
    }


def test_each_model_file_was_checked_over_the_whole_validation_set(exported):
    model, folder, returned = exported
    batches = list(validation())
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    assert set(returned["checks"]) == {"model.pt2", "weights.safetensors"}
    for check in returned["checks"].values():
        assert check["images"] == 30
        assert check["agreement"] == 1
        assert check["accuracy"] == pytest.approx(right / 30)
        assert check["difference"] < 1e-5
        assert check["batch"] == "any"
    index = json.loads((folder / "bundle.json").read_text())
    assert index["checks"] == returned["checks"]
    assert index["versions"]["torch"] == torch.__version__


def test_the_index_has_the_digest_of_every_other_file(exported):
    _, folder, _ = exported
    index = json.loads((folder / "bundle.json").read_text())
    assert set(index["files"]) == FILES - {"bundle.json"}
    for name, entry in index["files"].items():
        assert entry["sha256"] == digest_of_file(folder / name)


def test_the_text_files_say_what_was_given(exported):
    _, folder, _ = exported
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    assert recipe == {"sparsification": {"sparsity": 0.4, "exclude": []}, "fold": True}
    assert (folder / "labels.txt").read_text().splitlines() == list(CARD.classes)
    assert json.loads((folder / "metrics.json").read_text()) == CARD.metrics
    preprocess = json.loads((folder / "preprocess.json").read_text())
    assert (preprocess["image_size"], preprocess["mean"]) == (8, [0.3])
    assert preprocess["scale"] == 1 / 255
    card = (folder / "README.md").read_text()
    assert "# digits, trial 3" in card
    assert "| parameters | 2,000 | 1,000 |" in card
    assert "| `model.pt2` |" in card


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
    assert plan_of(loaded) == plan_of(model)
    assert not loaded.training
    loaded.train()
    optimizer = torch.optim.SGD(loaded.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in loaded.parameters()]
    nn.functional.cross_entropy(loaded(images), torch.tensor([0, 1, 2, 3, 0])).backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, loaded.parameters(), strict=True))


def test_the_exported_graph_runs_any_batch(exported):
    model, folder, _ = exported
    graph = torch.export.load(folder / "model.pt2").module()
    for count in (1, 7):
        images = torch.randn(count, 1, 8, 8)
        torch.testing.assert_close(graph(images), model(images))


@pytest.mark.parametrize(
    ("name", "content", "told"),
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
def test_damaged_bundles_are_refused(changeable, name, content, told):
    (changeable / name).unlink()
    if content is not None:
        (changeable / name).write_bytes(content)
    with pytest.raises(UsageError, match=told):
        load(changeable)


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a bundle"):
        load(tmp_path / "nowhere")


def test_verifying_notices_any_changed_file(changeable):
    assert set(verify(changeable)) == {"model.pt2", "weights.safetensors"}
    (changeable / "labels.txt").write_text("others\n")
    with pytest.raises(UsageError, match=r"labels.txt was changed"):
        verify(changeable)


def test_other_outputs_are_noticed(changeable):
    model = compressed()
    with torch.no_grad():
        model.classifier[6].bias[0] += 0.01
    bundle.save_model(model, str(changeable / "weights.safetensors"))
    index = json.loads((changeable / "bundle.json").read_text())
    digest = digest_of_file(changeable / "weights.safetensors")
    index["files"]["weights.safetensors"]["sha256"] = digest
    (changeable / "bundle.json").write_text(json.dumps(index))
    with pytest.raises(VerificationError, match=r"weights.safetensors: .* outputs differ by"):
        verify(changeable)


def test_a_bundle_that_fails_its_check_is_not_written(tmp_path):
    model = compressed()
    wrong = ModelSpec(factory=SPEC.factory, kwargs={"hidden": 20}, num_classes=4, channels=1)
    with pytest.raises(VerificationError, match=r"(?s)was not written.*weights"):
        export_bundle(model, tmp_path / "bundle", spec=wrong, card=CARD, validation=validation(1))
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_is_replaced_and_anything_else_is_not(changeable, tmp_path):
    (changeable / "labels.txt").write_text("old\n")
    model = compressed().train()
    export_bundle(model, changeable, spec=SPEC, card=CARD, validation=validation(1))
    assert model.training
    assert (changeable / "labels.txt").read_text().startswith("zero")
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.tex").write_text("precious")
    for target, told in ((foreign, "left as it is"), (foreign / "chapter1.tex", "is a file")):
        with pytest.raises(UsageError, match=told):
            export_bundle(compressed(), target, spec=SPEC, card=CARD, validation=validation(1))
    assert (foreign / "chapter1.tex").read_text() == "precious"


def test_unknown_formats_and_empty_validation_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"unknown format 'pt'.*allowed: pt2, onnx"):
        export_bundle(
            compressed(), tmp_path / "b", spec=SPEC, card=CARD, validation=(), formats=("pt",)
        )
    with pytest.raises(UsageError, match="at least 2 validation images, not 0"):
        export_bundle(compressed(), tmp_path / "b", spec=SPEC, card=CARD, validation=())
    assert list(tmp_path.iterdir()) == []


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
        model = built(spec)
        with caplog.at_level(logging.WARNING, "autocompress"):
            returned = export_bundle(
                model, tmp_path / "bundle", spec=spec, card=CARD, validation=validation(1)
            )
    finally:
        sys.modules.pop("mine_tied")
    assert returned["checks"]["model.pt2"]["batch"] == 1
    assert returned["checks"]["model.pt2"]["agreement"] == 1
    assert "one image at a time" in caplog.text
    assert "second.weight" not in load_file(tmp_path / "bundle" / "weights.safetensors")


@pytest.mark.filterwarnings("ignore")
def test_onnx_is_verified_too(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    returned = export_bundle(
        compressed(), tmp_path / "bundle", spec=SPEC, card=CARD, validation=validation(),
        formats=("pt2", "onnx"),
    )  # fmt: skip
    assert returned["checks"]["model.onnx"]["images"] == 30
    assert returned["checks"]["model.onnx"]["agreement"] == 1


def test_onnx_without_its_packages_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'autocompress\[onnx\]'"):
        export_bundle(
            compressed(), tmp_path / "b", spec=SPEC, card=CARD, validation=validation(),
            formats=("onnx",),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
