"""What a format is: how a model is written to a file, and run from it."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.targets.onnx_files import Forward
from autocompress.targets.programs import Batch

__all__ = ["Batch", "Exportable", "Format", "Forward"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exportable:
    """A model with what formats need to write it.

    Attributes:
        model: on the CPU, in evaluation mode.
        example: inputs ``[n, ...]``, at least one.
        calibration: training inputs ``[n, ...]``, from which int8 formats learn the ranges of
            activations; may be empty for other formats.
        metadata: texts to put into the file, by name.
    """

    model: nn.Module
    example: Tensor
    calibration: Tensor
    metadata: Mapping[str, str] = field(default_factory=dict)


class Format(ABC):
    """How a model is written to a file and run from it.

    Attributes:
        filename: of the file in a bundle.
        companions: names of files beside it that belong to it.
        baseline: name of the format in which the uncompressed model is timed beside it.
        exact: whether its outputs are the model's to float tolerance; else only the task's score
            is compared.
        calibrated: whether it needs training inputs to be written.
        packages: what must be installed, by import name.
        extra: of autocompress, that installs them.
    """

    filename: ClassVar[str]
    companions: ClassVar[tuple[str, ...]] = ()
    baseline: ClassVar[str]
    exact: ClassVar[bool] = True
    calibrated: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @classmethod
    def require(cls) -> None:
        """Check that the packages are installed.

        Raises:
            ConfigurationError: some are not; the message gives the command that installs them.
        """
        missing = [name for name in cls.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigurationError(
                f"{cls.filename} needs {', '.join(missing)}: "
                f"pip install 'autocompress[{cls.extra}]'"
            )

    @staticmethod
    @abstractmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write a model.

        Returns:
            the batch sizes that the file can run: any, or 1 where the model fixes it.

        Raises:
            ConfigurationError: the model can't be written.
        """

    @staticmethod
    @abstractmethod
    def read(path: Path) -> Forward:
        """Return a function from inputs to outputs, with as many threads as PyTorch has here."""
