import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets.half import Half
from autocompress.targets.int8 import quantize
from autocompress.targets.onnx_files import open_session, runner, write_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter's own
AGREEMENT = 0.97  # of the top class of a trained net, over 200 digits


@pytest.fixture
def exported(trained_vgg, valid_images, tmp_path):
    write_onnx(trained_vgg, valid_images[:8], tmp_path / "model.onnx", metadata={"classes": "0,1"})
    return tmp_path / "model.onnx"


def quantized(exported, train_images):
    output = exported.with_name("int8.onnx")
    quantize(exported, train_images.split(50), output)
    return output


def top(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def test_int8_keeps_nearly_all_top_classes(exported, trained_vgg, train_images, valid_images):
    session = open_session(
        quantized(exported, train_images), threads=1, device=torch.device("cpu")
    )
    same = top(runner(session), valid_images) == top(trained_vgg, valid_images)
    assert float(same.float().mean()) >= AGREEMENT


def test_int8_weights_have_a_scale_per_channel_and_seven_bits(exported, train_images):
    stored = onnx.load(quantized(exported, train_images)).graph.initializer
    weights = [onnx.numpy_helper.to_array(t) for t in stored if t.name.endswith("_quantized")]
    kernels = [array for array in weights if array.ndim == 4]
    assert len(kernels) == 2
    for kernel in kernels:
        assert kernel.dtype == "int8"
        assert (abs(kernel.astype(int)).reshape(len(kernel), -1).max(axis=1) == 64).all()


def test_int8_keeps_the_metadata(exported, train_images):
    stored = onnx.load(quantized(exported, train_images)).metadata_props
    assert {"classes": "0,1"}.items() <= {entry.key: entry.value for entry in stored}.items()


def test_the_same_calibration_gives_the_same_file(exported, train_images):
    first = quantized(exported, train_images).read_bytes()
    assert quantized(exported, train_images).read_bytes() == first


def test_no_calibration_images_are_a_clear_error(exported, tmp_path):
    with pytest.raises(ConfigurationError, match="can't be quantized to int8"):
        quantize(exported, [], tmp_path / "int8.onnx")


def test_half_precision_rounds_and_leaves_the_model_alone(trained_vgg, valid_images):
    before = {name: tensor.clone() for name, tensor in trained_vgg.state_dict().items()}
    half = Half(trained_vgg)
    with torch.no_grad():
        found, expected = half(valid_images), trained_vgg(valid_images)
    assert found.dtype == torch.float32
    assert 0 < float((found - expected).abs().max() / expected.std()) < 1e-2
    assert all(p.dtype == torch.float16 for p in half.parameters())
    assert all(torch.equal(before[n], t) for n, t in trained_vgg.state_dict().items())


def test_half_precision_takes_models_with_several_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, inputs):
            return {"out": self.head(inputs), "aux": (self.head(inputs),)}

    outputs = Half(Two().eval())(torch.rand(3, 4))
    assert outputs["out"].dtype == outputs["aux"][0].dtype == torch.float32


def test_whole_numbers_stay_whole_numbers_in_half_precision():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
    inputs = torch.tensor([[0, 1, 4], [2, 2, 3]])
    with torch.no_grad():
        found, expected = Half(model)(inputs), model(inputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)
