"""Formats in which a model runs without autocompress, by name."""

from autocompress.export.formats.base import Batch, Exportable, Format, Run
from autocompress.export.formats.onnx import Onnx, OnnxInt8
from autocompress.export.formats.pt2 import Pt2
from autocompress.registry import Registry

__all__ = ["FORMATS", "Batch", "Exportable", "Format", "Run"]

FORMATS: Registry[type[Format]] = Registry(
    "format", {"pt2": Pt2, "onnx": Onnx, "onnx-int8": OnnxInt8}
)
