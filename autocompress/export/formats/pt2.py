"""PyTorch's exported graph."""

from pathlib import Path

import torch

from autocompress.conversion.programs import export_program
from autocompress.export.formats.base import Batch, Exportable, Format, Run


class Pt2(Format):
    """PyTorch's exported graph: Python and C++ runtimes, ahead-of-time compilation."""

    filename = "model.pt2"
    baseline = "pt2"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write by ``torch.export.save``; the metadata are its extra files."""
        program, batch = export_program(source.model, source.example)
        torch.export.save(program, path, extra_files=dict(source.metadata))
        return batch

    @staticmethod
    def read(path: Path) -> Run:
        """Read by ``torch.export.load``."""
        run: Run = torch.export.load(path).module()
        return run
