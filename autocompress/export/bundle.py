"""Writing a bundle: aside first, reloaded and compared in a fresh process, then put in place."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from autocompress.conversion.programs import Batch
from autocompress.errors import UsageError, VerificationError
from autocompress.export.contents import (
    Card,
    ModelSpec,
    json_bytes,
    model_card,
    spec_data,
    text_files,
    versions,
)
from autocompress.export.formats import FORMATS
from autocompress.export.loading import (
    FORMAT,
    GOLDEN,
    INDEX,
    PLAN,
    TOLERANCE,
    VERSION,
    WEIGHTS,
    digest_of_file,
    read_index,
)
from autocompress.graph import plan_of

CARD = "README.md"
GOLDEN_IMAGES = 16

Validation = Iterable[tuple[Tensor, Tensor]]
"""Batches of normalised images [n, channels, height, width] and labels [n]."""


def export_bundle(
    model: nn.Module,
    output: str | Path,
    *,
    spec: ModelSpec,
    card: Card,
    validation: Validation,
    formats: Sequence[str] = ("pt2",),
) -> dict[str, Any]:
    """Write a compressed model as a bundle, and check every model file in a fresh process.

    The bundle appears whole, or not at all; an older bundle in its place is replaced.

    Args:
        model: what ``spec`` builds, compressed by this package, which keeps the plan with it; it
            is not changed.
        output: the folder to write.
        spec: how the uncompressed model is built.
        card: what to tell about the model.
        validation: the whole validation set, at least two images; gone through once.
        formats: names in ``FORMATS`` to write besides weights and plan.

    Returns:
        plain data: ``"bundle"`` (path), ``"files"`` (bytes by name) and ``"checks"`` (for each
        model file: ``difference``, ``agreement``, ``accuracy``, ``images``, ``batch``).

    Raises:
        UsageError: ``output`` holds something else than a bundle.
        ConfigurationError: a format does not exist, or can't hold this model.
        VerificationError: a file, reloaded, gives other outputs; nothing is left behind.
    """
    output = Path(output)
    _refuse_foreign(output)
    kinds = [FORMATS[name] for name in dict.fromkeys(formats)]
    own = copy.deepcopy(model).cpu().eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as aside:
        folder, data = Path(aside) / "bundle", Path(aside) / "validation"
        folder.mkdir()
        data.mkdir()
        example = _write_validation(own, validation, data)
        _write_golden(own, example, folder)
        save_model(own, str(folder / WEIGHTS))
        (folder / PLAN).write_text(plan_of(own).to_json(), encoding="utf-8")
        for name, content in text_files(card).items():
            (folder / name).write_bytes(content)
        batches: dict[str, Batch] = {WEIGHTS: "any"}
        for kind in kinds:
            batches[kind.filename] = kind.write(own, example, folder / kind.filename)
        _write_index(folder, spec, batches, {})
        checks = _verify_elsewhere(folder, data)
        (folder / CARD).write_text(model_card(card, spec, checks), encoding="utf-8")
        sizes = _write_index(folder, spec, batches, checks)
        _put_in_place(folder, output)
    return {"bundle": str(output), "files": sizes, "checks": checks}


def _refuse_foreign(output: Path) -> None:
    """Raise unless the folder is missing, empty, or a bundle, which may be replaced."""
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is a file; expected a folder to write")
    if any(output.iterdir()):
        try:
            read_index(output)
        except UsageError as error:
            raise UsageError(
                f"{output} holds other files and is left as it is; choose another folder"
            ) from error


def _write_validation(model: nn.Module, validation: Validation, folder: Path) -> Tensor:
    """Store the validation set with the model's outputs, batch by batch; return a few images."""
    example = torch.empty(0)
    for number, (images, labels) in enumerate(validation):
        images, labels = _plain(images), _plain(labels)
        with torch.no_grad():
            outputs = _plain(model(images))
        part = {"images": images, "labels": labels, "outputs": outputs}
        save_file(part, folder / f"{number:06d}.safetensors")
        if len(example) < GOLDEN_IMAGES:
            example = torch.cat([example, images[: GOLDEN_IMAGES - len(example)]])
    if len(example) < 2:
        raise UsageError(f"expected at least 2 validation images, not {len(example)}")
    return example


def _plain(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor of the base class on the CPU, with memory of its own."""
    return tensor.detach().as_subclass(Tensor).cpu().contiguous().clone()


def _write_golden(model: nn.Module, example: Tensor, folder: Path) -> None:
    with torch.no_grad():
        outputs = model(example)
    save_file({"inputs": example, "outputs": _plain(outputs)}, folder / GOLDEN)


def _write_index(
    folder: Path, spec: ModelSpec, batches: dict[str, Batch], checks: dict[str, Any]
) -> dict[str, int]:
    """Write ``bundle.json``, which lists all other files; return their sizes in bytes."""
    paths = sorted(path for path in folder.iterdir() if path.name != INDEX)
    files = {
        path.name: {"sha256": digest_of_file(path), "bytes": path.stat().st_size} for path in paths
    }
    index = {
        "format": FORMAT,
        "version": VERSION,
        "model": spec_data(spec),
        "versions": versions(),
        "batch": batches,
        "tolerance": TOLERANCE,
        "checks": checks,
        "files": files,
    }
    (folder / INDEX).write_bytes(json_bytes(index))
    return {path.name: path.stat().st_size for path in paths}


def _verify_elsewhere(folder: Path, data: Path) -> dict[str, Any]:
    report = data / "report.json"
    command = [sys.executable, "-m", "autocompress.export.verify", str(folder)]
    command += ["--validation", str(data), "--report", str(report)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        command, env={**os.environ, **threads}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise VerificationError(
            f"the bundle was not written, since a file of it could not be verified in a fresh "
            f"process:\n{done.stderr.strip()}"
        )
    checks: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return checks


def _put_in_place(folder: Path, output: Path) -> None:
    """Rename the finished folder; an older bundle is set aside first and goes with the rest."""
    if output.exists():
        output.rename(folder.with_name("replaced"))
    folder.rename(output)
    shutil.rmtree(folder.with_name("replaced"), ignore_errors=True)
