"""Formats in which a model runs without autocompress, by name."""

from autocompress.bundles.formats.base import Batch, Exportable, Format, Forward
from autocompress.bundles.formats.executorch import ExecuTorch, ExecuTorchInt8
from autocompress.bundles.formats.onnx import Onnx, OnnxInt8
from autocompress.bundles.formats.openvino import OpenVino
from autocompress.bundles.formats.pt2 import Pt2
from autocompress.registry import Registry

__all__ = ["FORMATS", "Batch", "Exportable", "Format", "Forward", "files_of"]

FORMATS: Registry[type[Format]] = Registry(
    "format",
    {
        "pt2": Pt2,
        "onnx": Onnx,
        "onnx-int8": OnnxInt8,
        "openvino": OpenVino,
        "executorch": ExecuTorch,
        "executorch-int8": ExecuTorchInt8,
    },
)


def files_of(filename: str) -> tuple[str, ...]:
    """Return the name of a model file with the names of those that belong to it."""
    kind = next((kind for kind in FORMATS.values() if kind.filename == filename), None)
    return (filename,) if kind is None else (filename, *kind.companions)
