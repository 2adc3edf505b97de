"""Formats in which a model runs without autocompress."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from autocompress.conversion.onnx_files import Run, open_session, runner, write_onnx
from autocompress.conversion.programs import Batch, export_program
from autocompress.registry import Registry


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


class Pt2(Format):
    """PyTorch's exported graph: Python and C++ runtimes, ahead-of-time compilation."""

    filename = "model.pt2"

    @staticmethod
    def write(model: nn.Module, example: Tensor, path: Path) -> Batch:
        """Write by ``torch.export.save``."""
        program, batch = export_program(model, example)
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
        """Write with the weights inside the file."""
        return write_onnx(model, example, path)

    @staticmethod
    def read(path: Path) -> Run:
        """Read into ONNX Runtime on the CPU."""
        threads, device = torch.get_num_threads(), torch.device("cpu")
        return runner(open_session(path, threads=threads, device=device))


FORMATS: Registry[type[Format]] = Registry("format", {"pt2": Pt2, "onnx": Onnx})
