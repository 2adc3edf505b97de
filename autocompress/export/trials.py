"""Exporting a trial of a study's run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autocompress.artifacts import read_json
from autocompress.datasets import Splits
from autocompress.export.bundle import export_bundle
from autocompress.export.contents import Card, ModelSpec, Origin
from autocompress.export.loading import digest_of_weights
from autocompress.export.material import Material, Measured, Timing
from autocompress.export.preprocessing import Preprocessing
from autocompress.targets.onnx_files import batch_of, open_session

if TYPE_CHECKING:
    from autocompress.config import StudyConfig
    from autocompress.study.records import Run
    from autocompress.study.trials import TrialRecord


def export_trial(
    run: "Run",
    number: int,
    output: str | Path,
    *,
    formats: Sequence[str] = ("pt2",),
    force: bool = False,
) -> dict[str, Any]:
    """Write the model of a trial as a bundle, verified over the study's validation set.

    Args:
        run: an opened run.
        number: of a complete trial.
        output: the folder to write.
        formats: see :func:`autocompress.export.export_bundle`; of a trial in int8, the file that
            was measured is shipped in any case.
        force: replace an older bundle.

    Returns:
        as :func:`autocompress.export.export_bundle`.

    Raises:
        RunError: the trial has no model.
        UsageError: there is no such trial; or as :func:`autocompress.export.export_bundle`.
        ConfigurationError: as :func:`autocompress.export.export_bundle`.
        VerificationError: as :func:`autocompress.export.export_bundle`.
    """
    from autocompress.config import study_from  # loaded here: bundles do not need studies
    from autocompress.deployment import CALIBRATION_IMAGES
    from autocompress.study.last_word import reload_trial
    from autocompress.study.preparation import load_batches

    config = study_from(run.config)
    record = run.trial(number)
    batches = load_batches(config)
    splits = batches.splits
    model = reload_trial(record, config.model, splits)
    baseline = _baseline(run, config, splits)
    return export_bundle(
        model,
        output,
        spec=ModelSpec(
            factory=config.model.factory,
            kwargs=config.model.kwargs,
            num_classes=len(splits.classes),
            channels=splits.channels,
        ),
        card=_card(
            run,
            record,
            splits,
            Origin(
                study=run.config,
                trial=number,
                recipe=record.recipe,
                threads=_threads(run, record),
                baseline_threads=_baseline_threads(run),
                baseline_sha256=digest_of_weights(baseline),
                machine=run.fingerprint,
            ),
        ),
        material=Material(
            validation=batches.valid,
            calibration=batches.calibration(CALIBRATION_IMAGES),
            measured=_measured(record),
            baseline=baseline,
            timing=Timing(batch_size=config.latency.batch_size, threads=config.latency.threads),
        ),
        formats=formats if record.precision != "int8" else (*formats, "onnx-int8"),
        force=force,
    )


def _threads(run: "Run", record: "TrialRecord") -> int | None:
    """Return the threads that a trial was trained with, or the one that it was harvested from."""
    if record.harvested_from is not None:
        record = run.trial(record.harvested_from)
    return record.threads


def _baseline_threads(run: "Run") -> int | None:
    from autocompress.study.preparation import TRAINING_FILE

    path = run.path / "baseline" / TRAINING_FILE
    threads: int | None = read_json(path).get("threads") if path.exists() else None
    return threads


def _measured(record: "TrialRecord") -> dict[str, Measured]:
    """Return the files that were judged in the trial: where it is in int8, one."""
    from autocompress.study.last_word import deployed_content

    if record.precision != "int8":
        return {}
    content = deployed_content(record)
    session = open_session(content, threads=1, device=torch.device("cpu"))
    accuracy = float(record.metrics["accuracy"])
    return {"onnx-int8": Measured(content=content, accuracy=accuracy, batch=batch_of(session))}


def _baseline(run: "Run", config: "StudyConfig", splits: Splits) -> nn.Module:
    from autocompress.search.workbench import load_tensors
    from autocompress.study.preparation import build_structure

    baseline = build_structure(config.model, splits)
    load_tensors(baseline, run.path / "baseline" / "weights.safetensors")
    return baseline.eval()


def _card(run: "Run", record: "TrialRecord", splits: Splits, origin: Origin) -> Card:
    curve = None if record.folder is None else record.folder / "curve.json"
    return Card(
        name=f"{run.name}, trial {record.number}",
        classes=splits.classes,
        preprocessing=Preprocessing.of(splits),
        recipe=record.recipe,
        metrics={"baseline": dict(run.baseline), "model": dict(record.metrics)},
        images={split: len(getattr(splits, split)) for split in ("train", "valid", "test")},
        curve=read_json(curve) if curve is not None and curve.exists() else [],
        origin=origin,
    )
