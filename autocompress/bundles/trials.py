"""Exporting a trial of a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autocompress.bundles.bundle import Bundle, export_bundle
from autocompress.bundles.contents import Card, Document, ModelSpec, Origin, Source
from autocompress.bundles.loading import digest_of_weights
from autocompress.bundles.material import Material, Measured, Timing
from autocompress.config import StudyConfig, study_from
from autocompress.config.schema import PYTHON
from autocompress.data import Data, as_data, load_data
from autocompress.errors import ConfigurationError, RunError
from autocompress.problem import (
    Build,
    data_options,
    network_from,
    network_of,
    sizes_for_models,
    task_from,
)
from autocompress.runs import layout
from autocompress.runs.opening import require_trusted
from autocompress.runs.store import intact, load_state, load_tensors
from autocompress.runs.stored import training_of
from autocompress.runs.wholeness import refuse_damages
from autocompress.targets import CALIBRATION_ITEMS
from autocompress.targets.onnx_files import batch_of, open_session
from autocompress.tasks import Task
from autocompress.user_code import import_plugins

if TYPE_CHECKING:
    from autocompress.runs import Run, TrialRecord


def export_trial(  # noqa: PLR0913 (what search was given comes back)
    run: "Run",
    number: int,
    output: str | Path,
    *,
    formats: Sequence[str] = ("pt2",),
    force: bool = False,
    model: nn.Module | None = None,
    data: Any = None,
    task: Task | None = None,
    allow: Collection[str] = (),
) -> Bundle:
    """Write the model of a trial as a bundle, verified over the study's validation set.

    Args:
        run: an opened run.
        number: of a complete trial.
        output: the folder to write.
        formats: names in ``FORMATS``; of a trial in int8, the file that was measured is shipped
            in any case.
        force: replace an older bundle.
        model: the baseline that ``search`` was given, or a copy with any weights; ``None``: what
            the study file names.
        data: what ``search`` was given; ``None``: what the study file names.
        task: likewise.
        allow: packages or modules whose functions the study may name.

    Raises:
        UntrustedError: the study names functions that this user has neither run nor allowed.
        RunError: the trial has no model, or its files were changed.
        UsageError: there is no such trial; or as :func:`autocompress.export`.
        ConfigurationError: as :func:`autocompress.export`; or the study was given Python objects.
        VerificationError: as :func:`autocompress.export`.
    """
    refuse_damages(run.path, run.damages(), of=layout.BASELINE)
    require_trusted(run.path, run.config, allow)
    config, record = study_from(run.config), run.trial(number)
    folder = intact(record.folder, record.sha256, f"trial {number}, which is {record.state},")
    known = _known(config, model, data, task)
    state = load_state(folder, known.structure())
    baseline = known.structure()
    load_tensors(baseline, run.path / layout.BASELINE / layout.WEIGHTS)
    return export_bundle(
        Source(model=state.model, plan=state.plan, spec=known.spec),
        output,
        card=_card(run, record, known, digest_of_weights(baseline)),
        material=Material(
            validation=known.data.valid,
            task=known.task,
            calibration=known.data.calibration(CALIBRATION_ITEMS),
            measured=_measured(run, record, folder),
            baseline=baseline.eval(),
            timing=Timing(batch_size=config.target.batch_size, threads=config.target.threads),
        ),
        formats=formats if record.precision != "int8" else (*formats, "onnx-int8"),
        force=force,
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a study is about, as far as a bundle needs it."""

    structure: Build
    spec: ModelSpec | None
    data: Data
    task: Task


def _known(config: StudyConfig, model: nn.Module | None, data: Any, task: Task | None) -> _Known:
    _refuse_missing(config, {"model": model, "data": data, "task": task})
    import_plugins(config.study.plugins)
    seed = config.study.seed
    task = task or task_from(config)
    if data is None:
        data = load_data(**data_options(config), seed=seed, task=task)
    else:
        data = as_data(data, task=task, batch_size=config.data.batch_size, seed=seed)
    if model is not None:
        structure = network_of(model).structure
        return _Known(structure=structure, spec=None, data=data, task=task)
    spec = ModelSpec(
        factory=config.model.factory, kwargs=config.model.kwargs, **sizes_for_models(data)
    )
    structure = network_from(config.model, data, seed).structure
    return _Known(structure=structure, spec=spec, data=data, task=task)


def _refuse_missing(config: StudyConfig, given: Mapping[str, Any]) -> None:
    named = {"model": config.model.factory, "data": config.data.source, "task": config.task.name}
    missing = [
        key for key, name in named.items() if name.startswith(PYTHON) and given[key] is None
    ]
    if missing:
        raise ConfigurationError(
            f"study {config.study.name!r} was given Python objects, which its file cannot hold: "
            f"give {', '.join(missing)} again, as in export_trial(run, 3, 'bundle', model=net)"
        )


def _measured(run: "Run", record: "TrialRecord", folder: Path) -> dict[str, Measured]:
    """Return the file that was scored in the trial, where it is one: in int8.

    Raises:
        RunError: it is missing.
    """
    if record.precision != "int8":
        return {}
    path = folder / layout.ARTIFACT
    if not path.is_file():
        raise RunError(f"{path} is missing: it is the model that trial {record.number} measured")
    content = path.read_bytes()
    session = open_session(content, threads=1, device=torch.device("cpu"))
    score = record.metrics[run.score.name].value
    return {"onnx-int8": Measured(content=content, score=score, batch=batch_of(session))}


def _card(run: "Run", record: "TrialRecord", known: _Known, baseline_sha256: str) -> Card:
    return Card(
        name=f"{run.name}, trial {record.number}",
        task=known.task.name,
        classes=tuple(str(label) for label in known.data.describe().get("classes") or ()),
        preprocessing=getattr(known.data, "preprocessing", None),
        recipe=record.recipe,
        metrics=tuple(run.metrics.values()),
        baseline=run.baseline,
        model=record.metrics,
        sizes=known.data.sizes,
        curve=record.curve,
        origin=_origin(run, record, baseline_sha256),
    )


def _origin(run: "Run", record: "TrialRecord", baseline_sha256: str) -> Origin:
    chain: list[tuple[Document, int | None]] = []
    following: TrialRecord | None = record
    while following is not None:
        parent = following if following.parent is None else run.trial(following.parent)
        chain.append((following.recipe, parent.threads))
        following = None if parent.start is None else run.trial(parent.start)
    training = training_of(run.path)
    recipes, threads = zip(*reversed(chain), strict=True)
    return Origin(
        study=run.config,
        trial=record.number,
        chain=recipes,
        threads=threads,
        baseline_threads=None if training is None else training.threads,
        baseline_sha256=baseline_sha256,
        machine=run.fingerprint,
    )
