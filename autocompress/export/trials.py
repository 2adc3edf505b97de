"""Exporting a trial of a study's run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.export.bundle import export_bundle
from autocompress.export.contents import Card, ModelSpec

if TYPE_CHECKING:
    from autocompress.study.records import Run


def export_trial(
    run: "Run", number: int, output: str | Path, *, formats: Sequence[str] = ("pt2",)
) -> dict[str, Any]:
    """Write the model of a trial as a bundle, verified over the study's validation set.

    Args:
        run: an opened run.
        number: of a complete trial.
        output: the folder to write.
        formats: see :func:`autocompress.export.export_bundle`.

    Returns:
        as :func:`autocompress.export.export_bundle`.

    Raises:
        RunError: there is no such trial, or it has no model.
        UsageError: as :func:`autocompress.export.export_bundle`.
        VerificationError: as :func:`autocompress.export.export_bundle`.
    """
    from autocompress.config import study_from  # loaded here: bundles do not need studies
    from autocompress.study.last_word import reload_trial
    from autocompress.study.preparation import load_batches

    config = study_from(run.config)
    record = run.trial(number)
    batches = load_batches(config)
    splits = batches.splits
    model = reload_trial(record, config.model, splits)
    return export_bundle(
        model,
        output,
        spec=ModelSpec(
            factory=config.model.factory,
            kwargs=config.model.kwargs,
            num_classes=len(splits.classes),
            channels=splits.channels,
        ),
        card=Card(
            name=f"{run.name}, trial {number}",
            classes=splits.classes,
            image_size=splits.image_size,
            mean=splits.mean,
            std=splits.std,
            recipe=record.recipe,
            metrics={"baseline": dict(run.baseline), "model": dict(record.metrics)},
        ),
        validation=batches.valid,
        formats=formats,
    )
