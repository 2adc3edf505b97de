"""The form in which a model is deployed: the last stage of a recipe.

What comes out is judged: its accuracy, its latency and its size are those of one and the same
artifact. The network itself stays in float32, to be trained further.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autocompress.conversion.half import Half
from autocompress.conversion.int8 import quantize
from autocompress.conversion.onnx_files import open_session, runner, write_onnx
from autocompress.conversion.precision import Precision
from autocompress.measurement.lock import DeviceLock
from autocompress.measurement.size import state_bytes
from autocompress.training.batches import Batches

CALIBRATION_IMAGES = 256  # of the training split


@dataclass(frozen=True)
class Deployed:
    """A model as its users run it.

    Attributes:
        artifact: what a ``Ruler`` measures: a network, or the content of an ONNX file.
        run: from normalised images [n, channels, height, width] to outputs [n, classes].
        size_bytes: of the weights of a network, or of the whole ONNX file.
    """

    artifact: nn.Module | bytes
    run: Callable[[Tensor], Tensor]
    size_bytes: int


def deploy(
    model: nn.Module, precision: Precision, batches: Batches, *, device: torch.device
) -> Deployed:
    """Bring a model to a precision.

    Args:
        model: in evaluation mode, on the device of the data; it is not changed.
        precision: ``"int8"`` makes an ONNX file, calibrated on training images.
        batches: the data.
        device: where the deployed model runs.

    Raises:
        ConfigurationError: the model can't be exported or quantized, or packages are missing.
    """
    if precision == "int8":
        with DeviceLock(device).shared():  # calibration would disturb another's measurement
            content = _int8_file(model, batches)
        return deployed_file(content, device)
    network = Half(model) if precision == "fp16" else model
    return Deployed(network, network, state_bytes(network))


def deployed_file(content: bytes, device: torch.device) -> Deployed:
    """Return an ONNX file, given by its content, as it is deployed.

    Args:
        content: of the file.
        device: where it runs.

    Raises:
        ConfigurationError: packages are missing, or the file can't be opened on this device.
    """
    session = open_session(content, threads=torch.get_num_threads(), device=device)
    return Deployed(content, runner(session), len(content))


def _int8_file(model: nn.Module, batches: Batches) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        exported, quantized = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        write_onnx(model, batches.example, exported)
        quantize(exported, batches.calibration(CALIBRATION_IMAGES), quantized)
        return quantized.read_bytes()
