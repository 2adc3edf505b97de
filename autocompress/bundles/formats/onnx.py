"""ONNX, for ONNX Runtime and most other deployment tools."""

import tempfile
from pathlib import Path

import torch

from autocompress.bundles.formats.base import Batch, Exportable, Format, Forward
from autocompress.targets.int8 import quantize
from autocompress.targets.onnx_files import ONNX_PACKAGES, open_session, runner, write_onnx

CALIBRATED_AT_ONCE = 32  # inputs, whose activations are all held in memory


class Onnx(Format):
    """ONNX in float32: one file, weights and metadata inside."""

    filename = "model.onnx"
    baseline = "onnx"
    packages = ONNX_PACKAGES
    extra = "onnx"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write by ``torch.onnx.export``."""
        return write_onnx(source.model, source.example, path, metadata=source.metadata)

    @staticmethod
    def read(path: Path) -> Forward:
        """Read into ONNX Runtime on the CPU."""
        threads = torch.get_num_threads()
        return runner(open_session(path, threads=threads, device=torch.device("cpu")))


class OnnxInt8(Onnx):
    """ONNX in 8 bits: static, a scale for each channel, calibrated on training inputs."""

    filename = "model-int8.onnx"
    exact = False
    calibrated = True

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write in float32, then quantize."""
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            wide = Path(folder) / Onnx.filename
            batch = Onnx.write(source, wide)
            quantize(wide, torch.split(source.calibration, CALIBRATED_AT_ONCE), path)
        narrow = onnx.load(path)
        onnx.helper.set_model_props(narrow, dict(source.metadata))
        onnx.save(narrow, path)
        return batch
