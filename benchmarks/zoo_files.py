"""Does a compressed model of the zoo work where it lands? Written, reloaded and compared."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.bundles.formats import FORMATS, Exportable

TOLERANCE = 1e-4  # of a reloaded model's outputs, in standard deviations


def convert(model: nn.Module, image: Tensor, formats: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Write a model in each format, reload the file in its runtime, and compare the outputs.

    Args:
        model: compressed, in evaluation mode.
        image: [1, channels, height, width].
        formats: their names.

    Returns:
        for each format ``error``, or the largest ``difference`` of the outputs, as a fraction of
        their standard deviation; whether it ``passed``, that is, is within ``TOLERANCE``;
        ``batch``, the batch sizes that the file runs; its megabytes and the CPU seconds that
        writing it took.
    """
    with torch.no_grad():
        expected = model(image)
    source = Exportable(model=model, example=image, calibration=torch.empty(0))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in formats:
            try:
                results[name] = _convert(name, source, expected, Path(folder))
            except Exception as error:  # noqa: BLE001 (of many packages; it is the result)
                reason = " ".join(str(error).split())
                results[name] = {"passed": False, "error": f"{type(error).__name__}: {reason}"}
    return results


def _convert(name: str, source: Exportable, expected: Tensor, folder: Path) -> dict[str, Any]:
    kind = FORMATS[name]
    path, start = folder / kind.filename, time.process_time()
    batch = kind.write(source, path)
    seconds = time.process_time() - start
    with torch.no_grad():
        found = kind.read(path)(source.example)
    difference = float((found.double() - expected.double()).abs().max() / expected.double().std())
    size = path.stat().st_size
    path.unlink()
    return {
        "passed": difference <= TOLERANCE,
        "difference": difference,
        "batch": batch,
        "mb": round(size / 1e6, 2),
        "write_s": round(seconds, 1),
    }
