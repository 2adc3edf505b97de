"""Each format: what is written runs in its own runtime, gives the model's outputs, is checked."""

import dataclasses
import importlib.util
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autocompress import models
from autocompress.bundles.formats import FORMATS, Exportable, files_of
from autocompress.bundles.formats.onnx import OnnxInt8
from autocompress.bundles.verify import verify
from autocompress.errors import UsageError

from little_bundles import CARD, CLASSES, compressed, export, labelled, material

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters
AGREEMENT = 0.9  # of the top class in 8 bits, over 100 images of noise


class Two(nn.Module):
    """Returns a tuple."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 3)
        self.second = nn.Linear(6, 2)

    def forward(self, inputs):
        return self.first(inputs), self.second(inputs).relu()


@pytest.mark.parametrize("name", ["pt2", "onnx", "openvino", "executorch"])
def test_several_outputs_come_back_as_a_tuple(name, tmp_path):
    kind = FORMATS[name]
    for package in kind.packages:
        pytest.importorskip(package)
    torch.manual_seed(0)
    model, inputs = Two().eval(), torch.randn(2, 6)
    source = Exportable(model=model, example=inputs, calibration=inputs)
    if kind.write(source, tmp_path / kind.filename) == 1:
        inputs = inputs[:1]
    outputs = kind.read(tmp_path / kind.filename)(inputs)
    with torch.no_grad():
        torch.testing.assert_close(tuple(outputs), model(inputs), rtol=1e-4, atol=1e-5)


@pytest.fixture(params=list(FORMATS))
def kind(request):
    for package in FORMATS[request.param].packages:
        pytest.importorskip(package)
    return FORMATS[request.param]


def images_of(model, batches):
    return torch.cat([images for images, _ in labelled(model, batches)])


def test_a_file_gives_the_models_outputs(kind, tmp_path):
    model = compressed()
    images = images_of(model, 10)
    source = Exportable(model=model, example=images[:4], calibration=images)
    batch = kind.write(source, tmp_path / kind.filename)
    assert {path.name for path in tmp_path.iterdir()} == set(files_of(kind.filename))
    run = kind.read(tmp_path / kind.filename)
    parts = images.split(1) if batch == 1 else [images[:1], images[1:8], images[8:]]
    outputs = torch.cat([run(part) for part in parts])
    with torch.no_grad():
        expected = model(images)
    if kind.exact:
        assert float((outputs - expected).abs().max() / expected.std()) < 1e-5
    else:
        assert not torch.equal(outputs, expected)
        agreed = (outputs.argmax(1) == expected.argmax(1)).float().mean()
        assert agreed >= AGREEMENT


def test_outputs_stay_when_the_runtime_goes_on(kind, tmp_path):
    model = compressed()
    images = images_of(model, 2)
    source = Exportable(model=model, example=images[:4], calibration=images)
    kind.write(source, tmp_path / kind.filename)
    run = kind.read(tmp_path / kind.filename)
    first = run(images[:1])
    kept = first.clone()
    run(images[1:2])
    assert torch.equal(first, kept)


@pytest.fixture(scope="module")
def everything(tmp_path_factory, onnx):
    """A bundle of all formats that can be written here."""
    found = {
        name: kind
        for name, kind in FORMATS.items()
        if all(importlib.util.find_spec(package) for package in kind.packages)
    }
    folder = tmp_path_factory.mktemp("everything") / "bundle"
    return folder, export(folder, formats=tuple(found)), found


def test_all_formats_fit_into_one_bundle_and_are_checked(everything):
    folder, returned, kinds = everything
    assert returned.rejected == {}
    card = (folder / "README.md").read_text()
    files = {kind.filename for kind in kinds.values()}
    assert set(returned.checks) == {"weights.safetensors", *files}
    for kind in kinds.values():
        check = returned.checks[kind.filename]
        assert check.items == 30
        assert check.latency.n > 0
        assert check.baseline_latency.n > 0
        assert f"| `{kind.filename}` |" in card
        named = "infer.py" if kind.filename.endswith("onnx") else kind.filename
        assert named in card.split("## Use it")[1].split("## Checked")[0]
        assert set(files_of(kind.filename)) <= returned.files.keys()


def test_onnx_files_say_what_they_are(everything):
    import onnx

    folder, *_ = everything
    for name in ("model.onnx", "model-int8.onnx"):
        stored = {entry.key: entry.value for entry in onnx.load(folder / name).metadata_props}
        assert json.loads(stored["labels"]) == list(CLASSES)
        assert json.loads(stored["recipe"]) == CARD.recipe
        preprocess = json.loads((folder / "preprocess.json").read_text())
        assert json.loads(stored["preprocess"]) == preprocess


def test_int8_is_smaller_than_the_model_it_is_of(tmp_path, onnx):
    model = models.build("autocompress:vgg_small", {}, num_classes=4, channels=1).eval()
    images = images_of(model, 1)
    source = Exportable(model=model, example=images[:2], calibration=images)
    for kind in (FORMATS["onnx"], FORMATS["onnx-int8"]):
        kind.write(source, tmp_path / kind.filename)
    sizes = [(tmp_path / name).stat().st_size for name in ("model.onnx", "model-int8.onnx")]
    assert sizes[1] < sizes[0] / 3


class CalibratedOnNothing(OnnxInt8):
    @staticmethod
    def write(source, path):
        blank = torch.full_like(source.calibration, 1e-4)
        return OnnxInt8.write(dataclasses.replace(source, calibration=blank), path)


def test_int8_that_loses_too_much_is_rejected(tmp_path, onnx):
    FORMATS.register(CalibratedOnNothing)
    try:
        formats = ("CalibratedOnNothing",)
        returned = export(tmp_path / "bundle", formats=formats, verifier=verify)
    finally:
        FORMATS.unregister("CalibratedOnNothing")
    reason = returned.rejected["model-int8.onnx"]
    assert "more than 2 points worse than the 80.00% of the model" in reason
    assert not (tmp_path / "bundle" / "infer.py").exists()


def test_int8_without_training_inputs_is_refused(tmp_path, onnx):
    about = material(compressed(), calibration=[])
    with pytest.raises(UsageError, match=r"model-int8\.onnx: expected training inputs"):
        export(tmp_path / "bundle", formats=("onnx-int8",), material=about)


def test_the_golden_outputs_are_found_again_in_every_runtime(everything):
    folder, _, kinds = everything
    golden = load_file(folder / "golden.safetensors")
    assert len(golden["inputs"]) == 16
    found = verify(folder)
    exact = [kind.filename for kind in kinds.values() if kind.exact]
    assert all(found[name].difference < 1e-5 for name in exact)
