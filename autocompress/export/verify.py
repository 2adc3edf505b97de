"""Reload each model file of a bundle and compare it, in a process that has nothing else loaded.

Run as ``python -m autocompress.export.verify BUNDLE [--validation FOLDER] [--report FILE]``.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from autocompress.conversion.onnx_files import Run
from autocompress.conversion.programs import Batch
from autocompress.errors import AutocompressError, VerificationError
from autocompress.export.formats import FORMATS
from autocompress.export.loading import GOLDEN, TOLERANCE, WEIGHTS, check_files, load, read_index

DISAGREEMENTS = 1000  # images for each of which one may get another top class, by rounding


def open_model(bundle: Path, name: str) -> Run:
    """Return a model file of a bundle as a function from images to outputs."""
    if name == WEIGHTS:
        return load(bundle)
    return next(kind.read(bundle / name) for kind in FORMATS.values() if kind.filename == name)


def verify(bundle: Path, validation: Path | None = None) -> dict[str, dict[str, Any]]:
    """Check every model file of a bundle.

    Args:
        bundle: the folder.
        validation: folder of ``*.safetensors`` files with ``images`` [n, channels, height,
            width], ``labels`` [n] and ``outputs`` [n, classes] of the model that was exported.

    Returns:
        for each model file its ``difference`` from the golden outputs, the ``agreement`` of the
        top class and the ``accuracy`` over the validation images (fractions in [0, 1]), the
        number of ``images``, and the ``batch`` sizes it runs.

    Raises:
        VerificationError: a file gives other outputs.
        UsageError: the bundle is missing, foreign or was changed.
    """
    index = read_index(bundle)
    check_files(bundle, index, tuple(index["files"]))
    golden = load_file(bundle / GOLDEN)
    report = {}
    for name, batch in index["batch"].items():
        run = open_model(bundle, name)
        difference = _difference(_outputs(run, golden["inputs"], batch), golden["outputs"])
        if not difference <= TOLERANCE:
            raise VerificationError(
                f"{name}: reloaded, its outputs differ by {difference:.1e} of their standard "
                f"deviation from the model's; allowed are {TOLERANCE:.0e}"
            )
        report[name] = {"difference": difference, "batch": batch}
        if validation is not None:
            report[name] |= _score(name, run, batch, validation)
    return report


def _outputs(run: Run, images: Tensor, batch: Batch) -> Tensor:
    with torch.no_grad():
        if batch == "any":
            return run(images)
        return torch.cat([run(image) for image in torch.split(images, 1)])


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a fraction of the outputs' standard deviation."""
    if found.shape != expected.shape:
        raise VerificationError(
            f"expected outputs of shape {list(expected.shape)}, not {list(found.shape)}"
        )
    spread = float(expected.double().std()) or 1.0
    return float((found.double() - expected.double()).abs().max()) / spread


def _score(name: str, run: Run, batch: Batch, validation: Path) -> dict[str, Any]:
    images, same, right = 0, 0, 0
    for part in _parts(validation):
        found = _outputs(run, part["images"], batch).argmax(1)
        images += len(found)
        same += int((found == part["outputs"].argmax(1)).sum())
        right += int((found == part["labels"]).sum())
    if images - same > images // DISAGREEMENTS:
        raise VerificationError(
            f"{name}: reloaded, it gives another top class for {images - same} of {images} "
            f"validation images; allowed are {images // DISAGREEMENTS}"
        )
    return {"agreement": same / images, "accuracy": right / images, "images": images}


def _parts(folder: Path) -> Iterator[dict[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        yield load_file(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a bundle; returns 0 where all is well, 1 with the reason on stderr else."""
    parser = argparse.ArgumentParser(prog="python -m autocompress.export.verify")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    try:
        report = verify(options.bundle, options.validation)
    except AutocompressError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps(report, indent=2)
    if options.report is None:
        sys.stdout.write(f"{text}\n")
    else:
        options.report.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
