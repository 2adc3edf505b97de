"""Writing a bundle: aside first, reloaded and compared in a fresh process, then put in place."""

import copy
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from autocompress.errors import AutocompressError, UsageError, VerificationError
from autocompress.export.card import model_card
from autocompress.export.contents import (
    METRICS,
    Card,
    ModelSpec,
    json_bytes,
    metadata,
    spec_data,
    text_files,
    versions,
)
from autocompress.export.formats import FORMATS, Exportable, Format, files_of
from autocompress.export.loading import (
    FORMAT,
    GOLDEN,
    INDEX,
    PLAN,
    REJECTED,
    VERSION,
    WEIGHTS,
    digest_of_file,
    refuse_foreign,
)
from autocompress.export.material import Material, plain, write_validation
from autocompress.export.plots import CURVE, LAYERS, draw_curve, draw_layers
from autocompress.export.verify import BASELINE, VALIDATION
from autocompress.graph import plan_of
from autocompress.targets import compare_layers
from autocompress.targets.programs import Batch

logger = logging.getLogger(__name__)

CARD, INFER = "README.md", "infer.py"
GOLDEN_IMAGES = 16


def export_bundle(
    model: nn.Module,
    output: str | Path,
    *,
    spec: ModelSpec,
    card: Card,
    material: Material,
    formats: Sequence[str] = ("pt2",),
    force: bool = False,
) -> dict[str, Any]:
    """Write a compressed model as a bundle, and check every model file in a fresh process.

    The bundle appears whole, or not at all. A file that fails its check is moved to the folder
    ``rejected`` in it, and is no part of it.

    Args:
        model: what ``spec`` builds, compressed by this package, which keeps the plan with it; it
            is not changed.
        output: the folder to write.
        spec: how the uncompressed model is built.
        card: what to tell about the model.
        material: what files are checked against.
        formats: names in ``FORMATS`` to write besides weights and plan.
        force: replace an older bundle.

    Returns:
        plain data: ``"bundle"`` (path), ``"files"`` (bytes by name), ``"checks"`` (for each model
        file its ``bytes``, companions included, and what
        :func:`autocompress.export.verify.verify` found) and ``"rejected"`` (reasons by name).

    Raises:
        UsageError: ``output`` holds something else than a bundle, or one and ``force`` is off.
        ConfigurationError: a format does not exist, or its packages are missing.
        VerificationError: the weights, reloaded, give other outputs; nothing is left behind.
        OSError: the disk is full; nothing is left behind.
    """
    output = Path(output)
    refuse_foreign(output, force=force)
    kinds = {name: FORMATS[name] for name in formats}
    for kind in kinds.values():
        kind.require()
    own = copy.deepcopy(model).cpu().eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{output.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=output.parent) as aside, _telling():
        folder, extra = Path(aside) / "bundle", Path(aside) / "material"
        for path in (folder, extra / VALIDATION, extra / BASELINE):
            path.mkdir(parents=True)
        example = write_validation(own, material.validation, extra / VALIDATION, GOLDEN_IMAGES)
        packages = sorted({name for kind in kinds.values() for name in kind.packages})
        source = Exportable(
            model=own,
            example=example,
            calibration=_calibration(material, kinds),
            metadata=metadata(card, packages),
        )
        _write_core(source, card, folder)
        batches, unwritten = _write_formats(source, material, kinds, folder)
        _write_baselines(source, material, kinds, extra / BASELINE)
        index: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "model": spec_data(spec),
            "versions": versions(packages),
            "latency": material.timing.to_dict(),
            "batch": {WEIGHTS: "any", **batches},
            "expected": {FORMATS[n].filename: m.accuracy for n, m in material.measured.items()},
            "checks": {},
            "rejected": {},
            "unwritten": unwritten,
        }
        _write_index(folder, index)
        _judge(folder, index, _verify_elsewhere(folder, extra))
        _write_story(folder, card, spec, index, _layers(material, own))
        sizes = _write_index(folder, index)
        _put_in_place(folder, output)
    told = {key: index[key] for key in ("checks", "rejected", "unwritten")}
    return {"bundle": str(output), "files": sizes, **told}


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what safetensors raises on a full disk into an error of ours."""
    try:
        yield
    except SafetensorError as error:
        raise AutocompressError(f"the bundle can't be written: {error}") from error


def _calibration(material: Material, kinds: Mapping[str, type[Format]]) -> Tensor:
    names = [
        kind.filename
        for name, kind in kinds.items()
        if kind.calibrated and name not in material.measured
    ]
    images = [plain(batch) for batch in material.calibration] if names else [torch.empty(0)]
    if not images:
        raise UsageError(
            f"{', '.join(names)}: expected training images to calibrate with, got none"
        )
    return torch.cat(images)


def _write_core(source: Exportable, card: Card, folder: Path) -> None:
    """Write weights, plan, golden outputs and the texts that need no check."""
    with torch.no_grad():
        outputs = plain(source.model(source.example))
    save_file({"inputs": source.example, "outputs": outputs}, folder / GOLDEN)
    save_model(source.model, str(folder / WEIGHTS))
    for name in (GOLDEN, WEIGHTS):  # safetensors hides its files from other users
        (folder / name).chmod(folder.stat().st_mode & 0o666)
    (folder / PLAN).write_text(plan_of(source.model).to_json(), encoding="utf-8")
    for name, content in text_files(card).items():
        (folder / name).write_bytes(content)


def _write_formats(
    source: Exportable, material: Material, kinds: Mapping[str, type[Format]], folder: Path
) -> tuple[dict[str, Batch], dict[str, str]]:
    """Write the model in each format.

    Returns:
        the batch sizes that each file runs, and why others could not be written.
    """
    batches: dict[str, Batch] = {}
    unwritten: dict[str, str] = {}
    for name, kind in kinds.items():
        path, measured = folder / kind.filename, material.measured.get(name)
        if measured is not None:
            path.write_bytes(measured.content)
            batches[kind.filename] = measured.batch
            continue
        try:
            batches[kind.filename] = _written(kind, source, path)
        except AutocompressError as error:
            unwritten[kind.filename] = str(error)
            for half in files_of(kind.filename):
                (folder / half).unlink(missing_ok=True)
    return batches, unwritten


def _written(kind: type[Format], source: Exportable, path: Path) -> Batch:
    """Write one file.

    Raises:
        VerificationError: it can't be written; what writes it has errors of its own.
    """
    try:
        return kind.write(source, path)
    except OSError:
        raise
    except Exception as error:
        raise VerificationError(f"{kind.filename} can't be written: {error}") from error


def _write_baselines(
    source: Exportable, material: Material, kinds: Mapping[str, type[Format]], folder: Path
) -> None:
    """Write the uncompressed model in the same formats, to be timed beside it."""
    if material.baseline is None:
        return
    baseline = copy.deepcopy(material.baseline).cpu().eval()
    uncompressed = Exportable(
        model=baseline, example=source.example, calibration=source.calibration
    )
    for name in dict.fromkeys(kind.baseline for kind in kinds.values()):
        try:
            _written(FORMATS[name], uncompressed, folder / FORMATS[name].filename)
        except AutocompressError as error:  # it would only have been timed beside the files
            logger.warning("the uncompressed model is not timed as %s: %s", name, error)


def _verify_elsewhere(folder: Path, material: Path) -> dict[str, Any]:
    report = material / "report.json"
    command = [sys.executable, "-m", "autocompress.export.verify", str(folder)]
    command += ["--material", str(material), "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not report.exists():
        raise VerificationError(
            f"the bundle was not written, since its files could not be verified in a fresh "
            f"process (exit code {done.returncode}):\n{done.stderr.strip()}"
        )
    checks: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return checks


def _judge(folder: Path, index: dict[str, Any], checks: Mapping[str, Any]) -> None:
    """Put what was found into the index, and files that failed into their folder.

    Raises:
        VerificationError: the weights failed.
    """
    if checks[WEIGHTS]["failed"]:
        raise VerificationError(f"the bundle was not written: {checks[WEIGHTS]['failed']}")
    for name, check in checks.items():
        if check["failed"]:
            (folder / REJECTED).mkdir(exist_ok=True)
            for moved in files_of(name):
                (folder / moved).rename(folder / REJECTED / moved)
            del index["batch"][name]
            index["rejected"][name] = check["failed"]
        else:
            size = sum((folder / file).stat().st_size for file in files_of(name))
            index["checks"][name] = {"bytes": size, **check}


def _layers(material: Material, model: nn.Module) -> list[dict[str, Any]]:
    return [] if material.baseline is None else compare_layers(material.baseline, model)


def _write_story(
    folder: Path,
    card: Card,
    spec: ModelSpec,
    index: dict[str, Any],
    layers: Sequence[Mapping[str, Any]],
) -> None:
    """Write what is known after the checks: script, numbers, pictures and model card."""
    if card.preprocessing.mode and any(name.endswith(".onnx") for name in index["checks"]):
        script = resources.files("autocompress.export").joinpath("assets", INFER)
        (folder / INFER).write_bytes(script.read_bytes())
    numbers = {**card.metrics, "images": dict(card.images), "checks": index["checks"]}
    (folder / METRICS).write_bytes(json_bytes(numbers))
    if card.curve:
        reference = card.metrics.get("baseline", {}).get("accuracy")
        draw_curve(card.curve, reference, folder / CURVE)
    if layers:
        draw_layers(layers, folder / LAYERS)
    files = [path.name for path in folder.iterdir()]
    text = model_card(card, spec, index, layers, files)
    (folder / CARD).write_text(text, encoding="utf-8")


def _write_index(folder: Path, index: dict[str, Any]) -> dict[str, int]:
    """Write ``bundle.json``, which lists all other files; return their sizes in bytes."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != INDEX)
    files = {
        path.name: {"sha256": digest_of_file(path), "bytes": path.stat().st_size} for path in paths
    }
    (folder / INDEX).write_bytes(json_bytes({**index, "files": files}))
    return {path.name: path.stat().st_size for path in paths}


def _put_in_place(folder: Path, output: Path) -> None:
    """Rename the finished folder; an older bundle is set aside first and goes with the rest."""
    older = folder.with_name("replaced")
    if output.exists():
        output.rename(older)
    try:
        folder.rename(output)
    except OSError:
        if older.exists():
            older.rename(output)
        raise
