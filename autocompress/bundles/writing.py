"""The files of a bundle: written, scored after they were checked, and described."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import save_file, save_model
from torch import Tensor

from autocompress.artifacts import digest_of_file
from autocompress.bundles.card import model_card
from autocompress.bundles.charts import CURVE, LAYERS, curve_svg, layers_svg
from autocompress.bundles.checks import Check, check_score
from autocompress.bundles.contents import (
    METRICS,
    Card,
    Source,
    json_bytes,
    metadata,
    numbers,
    text_files,
    versions,
)
from autocompress.bundles.formats import FORMATS, Batch, Exportable, Format, files_of
from autocompress.bundles.loading import (
    GOLDEN,
    INDEX,
    PLAN,
    REJECTED,
    WEIGHTS,
    Index,
)
from autocompress.bundles.material import INPUTS, Material, Validation, write_validation
from autocompress.bundles.outputs import named, plain
from autocompress.bundles.verify import BASELINE, FOUND, VALIDATION
from autocompress.errors import AutocompressError, UsageError, VerificationError
from autocompress.results import LayerChange
from autocompress.targets import compare_layers

logger = logging.getLogger(__name__)

CARD, INFER = "README.md", "infer.py"
GOLDEN_INPUTS = 16


class Writing:
    """One bundle while it is written: what goes into it, and two folders beside its place."""

    def __init__(
        self,
        source: Source,
        card: Card,
        material: Material,
        kinds: Mapping[str, type[Format]],
        folder: Path,
        extra: Path,
    ) -> None:
        for path in (folder, extra / VALIDATION, extra / BASELINE):
            path.mkdir(parents=True)
        self.source, self.card, self.material, self.kinds = source, card, material, kinds
        self.folder, self.extra = folder, extra
        self.packages = sorted({name for kind in kinds.values() for name in kind.packages})
        self.validation: Validation = write_validation(
            source.model, material, extra / VALIDATION, GOLDEN_INPUTS
        )

    def write(self) -> Index:
        """Write everything that needs no check; return the index so far."""
        exportable = Exportable(
            model=self.source.model,
            example=self.validation.example,
            calibration=_calibration(self.material, self.kinds),
            metadata=metadata(self.card, self.packages),
        )
        self._write_core()
        batches, unwritten = self._write_formats(exportable)
        self._write_baselines(exportable)
        core: dict[str, Batch] = {} if self.source.spec is None else {WEIGHTS: "any"}
        index = Index(
            model=self.source.spec,
            task=self.card.task,
            versions=versions(self.packages),
            latency=self.material.timing,
            batch={**core, **batches},
            unwritten=unwritten,
        )
        self.write_index(index)
        return index

    def _write_core(self) -> None:
        """Write weights, plan, golden outputs and the texts that need no check."""
        example = self.validation.example
        with torch.no_grad():
            outputs = named(self.source.model(example))
        golden = {INPUTS: example, **{name: plain(t) for name, t in outputs.items()}}
        save_file(golden, self.folder / GOLDEN)
        save_model(self.source.model, str(self.folder / WEIGHTS))
        for name in (GOLDEN, WEIGHTS):  # safetensors hides its files from other users
            (self.folder / name).chmod(self.folder.stat().st_mode & 0o666)
        (self.folder / PLAN).write_text(self.source.plan.to_json(), encoding="utf-8")
        for name, content in text_files(self.card).items():
            (self.folder / name).write_bytes(content)

    def _write_formats(self, source: Exportable) -> tuple[dict[str, Batch], dict[str, str]]:
        """Write the model in each format.

        Returns:
            the batch sizes that each file runs, and why others could not be written.
        """
        batches: dict[str, Batch] = {}
        unwritten: dict[str, str] = {}
        for name, kind in self.kinds.items():
            path, measured = self.folder / kind.filename, self.material.measured.get(name)
            if measured is not None:
                path.write_bytes(measured.content)
                batches[kind.filename] = measured.batch
                continue
            try:
                batches[kind.filename] = _written(kind, source, path)
            except AutocompressError as error:
                unwritten[kind.filename] = str(error)
                for half in files_of(kind.filename):
                    (self.folder / half).unlink(missing_ok=True)
        return batches, unwritten

    def _write_baselines(self, source: Exportable) -> None:
        """Write the uncompressed model in the same formats, to be timed beside it."""
        if self.material.baseline is None:
            return
        baseline = copy.deepcopy(self.material.baseline).cpu().eval()
        uncompressed = replace(source, model=baseline, metadata={})
        for name in dict.fromkeys(kind.baseline for kind in self.kinds.values()):
            path = self.extra / BASELINE / FORMATS[name].filename
            try:
                _written(FORMATS[name], uncompressed, path)
            except AutocompressError as error:  # it would only have been timed beside the files
                logger.warning("the uncompressed model is not timed as %s: %s", name, error)

    def scored(self, index: Index, found: Mapping[str, Check]) -> Index:
        """Add scores to what was found, and move files that failed; return the index.

        Raises:
            VerificationError: the weights failed, or nothing passed.
        """
        checks: dict[str, Check] = {}
        rejected: dict[str, str] = {}
        for name, check in found.items():
            scored = check if check.failed else self._with_scores(name, check)
            if scored.failed:
                rejected[name] = scored.failed
                continue
            size = sum((self.folder / file).stat().st_size for file in files_of(name))
            checks[name] = replace(scored, bytes=size)
        if WEIGHTS in rejected:
            raise VerificationError(f"the bundle was not written: {rejected[WEIGHTS]}")
        if not checks:
            why = "\n".join([*rejected.values(), *index.unwritten.values()])
            raise VerificationError(
                "the bundle was not written: it would hold no model that runs, since no function "
                f"that builds the model is known.\n{why}".rstrip()
            )
        self._move(rejected)
        batch = {name: size for name, size in index.batch.items() if name in checks}
        return replace(index, batch=batch, checks=checks, rejected=rejected)

    def _with_scores(self, name: str, check: Check) -> Check:
        task, outputs = self.material.task, self.extra / FOUND / name
        if task is None or not check.items:
            return check
        scores = self.validation.scores(task, outputs)
        agreement = self.validation.agreement(task, outputs)
        check = replace(check, scores=scores, agreement=agreement)
        kinds = {kind.filename: (key, kind) for key, kind in self.kinds.items()}
        if name not in kinds or kinds[name][1].exact:
            return check
        measured = self.material.measured.get(kinds[name][0])
        if measured is not None and measured.score is not None:
            return check_score(name, check, task.score, measured.score, measured=True)
        own = self.validation.scores(task, self.validation.folder)[task.score.name].value
        return check_score(name, check, task.score, own, measured=False)

    def _move(self, rejected: Mapping[str, str]) -> None:
        for name in rejected:
            (self.folder / REJECTED).mkdir(exist_ok=True)
            for moved in files_of(name):
                (self.folder / moved).rename(self.folder / REJECTED / moved)

    def write_card(self, index: Index) -> None:
        """Write what is known after the checks: script, numbers, pictures and model card."""
        if any(name.endswith(".onnx") for name in index.checks):
            script = resources.files("autocompress.bundles").joinpath("assets", INFER)
            (self.folder / INFER).write_bytes(script.read_bytes())
        checks = {name: check.to_dict() for name, check in index.checks.items()}
        found = {**numbers(self.card), "checks": checks}
        (self.folder / METRICS).write_bytes(json_bytes(found))
        layers = self._layers()
        score = self.card.score
        if self.card.curve and score is not None:
            baseline = self.card.baseline.get(score.name)
            drawn = curve_svg(self.card.curve, score, None if baseline is None else baseline.value)
            (self.folder / CURVE).write_text(drawn, encoding="utf-8")
        if layers:
            (self.folder / LAYERS).write_text(layers_svg(layers), encoding="utf-8")
        files = [path.name for path in self.folder.iterdir()]
        text = model_card(self.card, index, layers, files)
        (self.folder / CARD).write_text(text, encoding="utf-8")

    def _layers(self) -> list[LayerChange]:
        baseline = self.material.baseline
        return [] if baseline is None else compare_layers(baseline, self.source.model)

    def write_index(self, index: Index) -> dict[str, int]:
        """Write ``bundle.json``, which lists all other files; return their sizes in bytes."""
        folder = self.folder
        paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != INDEX)
        files: dict[str, dict[str, str | int]] = {
            path.name: {"sha256": digest_of_file(path), "bytes": path.stat().st_size}
            for path in paths
        }
        (folder / INDEX).write_bytes(json_bytes(replace(index, files=files).to_dict()))
        return {path.name: path.stat().st_size for path in paths}


def _calibration(material: Material, kinds: Mapping[str, type[Format]]) -> Tensor:
    names = [
        kind.filename
        for name, kind in kinds.items()
        if kind.calibrated and name not in material.measured
    ]
    inputs = [plain(batch) for batch in material.calibration] if names else [torch.empty(0)]
    if not inputs:
        raise UsageError(
            f"{', '.join(names)}: expected training inputs to calibrate with, got none"
        )
    return torch.cat(inputs)


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
