"""PyTorch's exported graph."""

import io
from pathlib import Path

import torch

from autocompress.bundles.formats.base import Batch, Exportable, Format, Forward
from autocompress.targets.programs import export_program


class Pt2(Format):
    """PyTorch's exported graph: Python and C++ runtimes, ahead-of-time compilation."""

    filename = "model.pt2"
    baseline = "pt2"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write by ``torch.export.save``; the metadata are its extra files.

        By way of memory: where the disk is full, PyTorch's own writer ends the whole process.
        """
        program, batch = export_program(source.model, source.example)
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=dict(source.metadata))
        path.write_bytes(content.getbuffer())
        return batch

    @staticmethod
    def read(path: Path) -> Forward:
        """Read by ``torch.export.load``."""
        run: Forward = torch.export.load(path).module()
        return run
