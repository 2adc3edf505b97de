"""Formats in which a model runs without autocompress."""

import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.registry import Registry

logger = logging.getLogger(__name__)

Run = Callable[[Tensor], Tensor]
Batch = Literal["any", 1]
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class Format(ABC):
    """How a model is written to one file and run from it.

    Attributes:
        filename: of the file in a bundle.
    """

    filename: ClassVar[str]

    @staticmethod
    @abstractmethod
    def write(model: nn.Module, example: Tensor, path: Path) -> Batch:
        """Write a model in evaluation mode.

        Args:
            model: on the CPU.
            example: at least two images.
            path: the file.

        Returns:
            the batch sizes that the file can run: any, or 1 where the model fixes it.

        Raises:
            ConfigurationError: the model can't be written, or packages are missing.
        """

    @staticmethod
    @abstractmethod
    def read(path: Path) -> Run:
        """Return a function from images to outputs."""


def _exported(model: nn.Module, example: Tensor) -> tuple[torch.export.ExportedProgram, Batch]:
    """Export for any batch size where the model allows it, else for one image, and say so."""
    try:
        return _export(model, example, {0: torch.export.Dim.DYNAMIC}), "any"
    except ConfigurationError as error:
        program = _export(model, example[:1], {})
        logger.warning("the exported model takes one image at a time: %s", error)
        return program, 1


def _export(
    model: nn.Module, example: Tensor, dynamic: dict[int, Any]
) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(model, (example,), dynamic_shapes=(dynamic,), strict=False)
    except Exception as error:  # the exporter has no error class of its own
        raise ConfigurationError(f"torch.export can't export the model: {error}") from error


class Pt2(Format):
    """PyTorch's exported graph: Python and C++ runtimes, ahead-of-time compilation."""

    filename = "model.pt2"

    @staticmethod
    def write(model: nn.Module, example: Tensor, path: Path) -> Batch:
        """Write by ``torch.export.save``."""
        program, batch = _exported(model, example)
        torch.export.save(program, path)
        return batch

    @staticmethod
    def read(path: Path) -> Run:
        """Read by ``torch.export.load``."""
        run: Run = torch.export.load(path).module()
        return run


class Onnx(Format):
    """ONNX, for ONNX Runtime and most other deployment tools."""

    filename = "model.onnx"

    @staticmethod
    def write(model: nn.Module, example: Tensor, path: Path) -> Batch:
        """Write by ``torch.onnx.export`` from the exported graph, weights inside the file."""
        missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigurationError(
                f"format 'onnx' needs {', '.join(missing)}: pip install 'autocompress[onnx]'"
            )
        program, batch = _exported(model, example)
        try:
            torch.onnx.export(
                program, f=path, dynamo=True, external_data=False, verbose=False,
                input_names=["images"], output_names=["logits"],
            )  # fmt: skip
        except Exception as error:
            raise ConfigurationError(f"the model can't be exported to ONNX: {error}") from error
        return batch

    @staticmethod
    def read(path: Path) -> Run:
        """Read into ONNX Runtime on the CPU."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


FORMATS: Registry[type[Format]] = Registry("format", {"pt2": Pt2, "onnx": Onnx})
