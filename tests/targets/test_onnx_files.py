import logging

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets.onnx_files import batch_of, open_session, runner, write_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter's own
CPU = torch.device("cpu")


class OneImage(nn.Module):
    """Fixes the batch size, as a reshape with a number does."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images.reshape(1, 64))


def opened(path):
    return open_session(path, threads=1, device=CPU)


def furthest(found, expected):
    return float((found - expected).abs().max() / expected.std())


def test_a_file_gives_the_models_outputs_for_any_batch(trained_vgg, valid_images, tmp_path):
    path = tmp_path / "model.onnx"
    assert write_onnx(trained_vgg, valid_images[:1], path) == "any"
    run = runner(opened(path))
    for count in (1, 2, 50):
        with torch.no_grad():
            expected = trained_vgg(valid_images[:count])
        assert furthest(run(valid_images[:count]), expected) < 1e-4


def test_it_is_one_file_with_its_metadata(trained_vgg, valid_images, tmp_path):
    path = tmp_path / "model.onnx"
    write_onnx(trained_vgg, valid_images[:8], path, metadata={"classes": "0,1,2"})
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    stored = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert stored["classes"] == "0,1,2"


def test_a_model_that_fixes_its_batch_runs_one_by_one(valid_images, tmp_path, caplog):
    torch.manual_seed(0)
    model, images = OneImage().eval(), valid_images[:8]
    with caplog.at_level(logging.WARNING):
        assert write_onnx(model, images, tmp_path / "model.onnx") == 1
    assert "one input at a time" in caplog.text
    session = opened(tmp_path / "model.onnx")
    assert batch_of(session) == 1
    with torch.no_grad():
        expected = torch.cat([model(image) for image in images.split(1)])
    assert furthest(runner(session)(images), expected) < 1e-4


def test_the_content_of_a_file_opens_like_the_file(trained_vgg, valid_images, tmp_path):
    path = tmp_path / "model.onnx"
    write_onnx(trained_vgg, valid_images[:8], path)
    outputs = [runner(opened(source))(valid_images[:8]) for source in (path, path.read_bytes())]
    assert torch.equal(*outputs)


def test_a_damaged_file_is_a_clear_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match="ONNX Runtime can't open the model"):
        opened(tmp_path / "model.onnx")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_build_without_cuda_is_reported(tmp_path):
    with pytest.raises(ConfigurationError, match=r"needs CUDAExecutionProvider.*CPUExecution"):
        open_session(tmp_path / "model.onnx", threads=1, device=torch.device("cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_fell_back_to_the_cpu_is_refused(
    trained_vgg, valid_images, tmp_path, monkeypatch
):
    write_onnx(trained_vgg, valid_images[:8], tmp_path / "model.onnx")
    built = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: built)
    with pytest.raises(ConfigurationError, match="CUDAExecutionProvider, which is installed but"):
        open_session(tmp_path / "model.onnx", threads=1, device=torch.device("cuda"))


def test_missing_packages_are_named(trained_vgg, valid_images, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r"onnxscript: pip install 'autocompress\[onnx\]'"
    ):
        write_onnx(trained_vgg, valid_images[:8], tmp_path / "model.onnx")


class Several(nn.Module):
    """Returns what it was told to make of its two outputs."""

    def __init__(self, pack):
        super().__init__()
        self.pack = pack
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.pack(self.head(inputs), inputs * 2)


def test_a_tuple_of_outputs_comes_back_as_a_tuple(tmp_path):
    torch.manual_seed(0)
    model, inputs = Several(lambda *outputs: outputs).eval(), torch.rand(6, 4)
    write_onnx(model, inputs[:2], tmp_path / "model.onnx")
    found = runner(opened(tmp_path / "model.onnx"))(inputs)
    assert isinstance(found, tuple)
    with torch.no_grad():
        torch.testing.assert_close(found, model(inputs))


def test_other_outputs_are_refused(tmp_path):
    model = Several(lambda first, second: {"out": first, "aux": second}).eval()
    with pytest.raises(ConfigurationError, match="a tensor or a tuple of tensors, not dict"):
        write_onnx(model, torch.rand(2, 4), tmp_path / "model.onnx")
