"""What a run needs before its first trial: data, a trained baseline, a teacher, a ruler."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from autocompress import datasets, models
from autocompress.artifacts import digest_of, read_json, write_folder, write_json
from autocompress.config import ModelSection, StudyConfig
from autocompress.datasets import Images, Splits
from autocompress.errors import AutocompressError, ConfigurationError, DivergedError
from autocompress.events import BaselineReady, EpochDone, Event, Message
from autocompress.graph import Units
from autocompress.measurement.latency import (
    LatencySettings,
    Ruler,
    measure_reference,
)
from autocompress.search.limits import Limits
from autocompress.search.workbench import (
    Economy,
    Workbench,
    load_tensors,
    own_tensors,
    size_metrics,
)
from autocompress.study.records import UNITS_FILE
from autocompress.techniques.anatomy import examine
from autocompress.training.batches import Batches, BatchSettings, make_batches
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import EpochRecord, Fit, Follower, fit, seed_everything
from autocompress.training.layout import try_training

Listener = Callable[[Event], None]
NEAR_CHANCE = 2.0  # times as often right as chance: hardly what somebody trained
TRAINING_FILE = "training.json"  # how a baseline was trained, in its folder


def training_device(config: StudyConfig) -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_batches(config: StudyConfig) -> Batches:
    """Load the study's data and put it where training runs.

    Raises:
        ConfigurationError: the source does not exist, or its images or labels are unusable.
    """
    data = config.data
    splits = datasets.load(
        data.source,
        image_size=data.image_size,
        train_limit=data.train_limit,
        valid_limit=data.valid_limit,
        test_limit=data.test_limit,
        seed=config.study.seed,
    )
    if data.mean is not None and data.std is not None:
        splits = replace(splits, mean=data.mean, std=data.std)
    settings = BatchSettings(batch_size=data.batch_size, augmentation=data.augmentation)
    return make_batches(splits, settings, device=training_device(config), seed=config.study.seed)


def data_digest(splits: Splits) -> str:
    """Return a sha256 that changes when labels, classes, sizes or the first images change."""
    facts: dict[str, Any] = {"classes": splits.classes, "image_size": splits.image_size}
    for name in ("train", "valid", "test"):
        part = getattr(splits, name)
        facts[name] = part.labels.tolist()
        if isinstance(part, Images):
            facts[f"{name}_pixels"] = part.images[:64].long().sum(dim=(1, 2, 3)).tolist()
        else:
            facts[f"{name}_files"] = [path.name for path in part.paths]
    return digest_of(facts)


def build_structure(section: ModelSection, splits: Splits) -> nn.Module:
    """Build the study's model for its data, with random weights.

    Raises:
        ConfigurationError: factory or arguments do not exist or do not fit.
    """
    classes, channels = len(splits.classes), splits.channels
    return models.build(section.factory, section.kwargs, num_classes=classes, channels=channels)


def build_model(section: ModelSection, splits: Splits, *, seed: int) -> nn.Module:
    """Build the study's model for its data, with the weights that the study names.

    Raises:
        ConfigurationError: factory, arguments or weights do not exist or do not fit.
    """
    seed_everything(seed)
    model = build_structure(section, splits)
    if section.weights is not None:
        models.load_weights(model, section.weights, factory=section.factory)
    return model


def check_batch(model: nn.Module, batches: Batches) -> tuple[int, ...]:
    """Run one batch through a model, forward and backward, and return the shape of its output.

    Args:
        model: put into eval mode, on the device of the batches.
        batches: the data.

    Raises:
        ConfigurationError: the images don't fit the model, the output isn't
            [n, number of classes], or the model can't be trained.
    """
    wanted = (len(batches.example), len(batches.splits.classes))
    images = f"images {list(batches.example.shape)} (number, channels, height, width)"
    model.to(batches.device).eval()
    try:
        with torch.no_grad():
            outputs = model(batches.example)
    except Exception as error:
        raise ConfigurationError(
            f"data.image_size, model.factory: {images} do not fit the model: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) != wanted:
        got = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ConfigurationError(
            f"model.factory: for {images} the model must return class scores of shape "
            f"{list(wanted)}, not {got}"
        )
    try:
        try_training(model, batches.example, batches.laid_out_for(model).layout)
    except Exception as error:
        raise ConfigurationError(
            f"model.factory: the model cannot be trained: {type(error).__name__}: {error}"
        ) from error
    return tuple(outputs.shape)


def trained(
    section: ModelSection, batches: Batches, folder: Path, config: StudyConfig, tell: Listener
) -> nn.Module:
    """Return a model of the study in eval mode, trained now or in an earlier session.

    A model without weights is trained for ``section.epochs`` and kept in ``folder``, together
    with its curve.
    """
    kept = folder / "weights.safetensors"
    if kept.exists():
        model = build_structure(section, batches.splits)
        load_tensors(model, kept)
        return model.to(batches.device).eval()
    model = build_model(section, batches.splits, seed=config.study.seed).to(batches.device)
    check_batch(model, batches)
    batches = batches.laid_out_for(model)
    role = folder.name
    epochs = section.epochs
    if epochs:
        tell(Message(f"training the {role} ({section.factory}) for {epochs} epochs"))

    seed_everything(config.study.seed)
    run = Fit(role, epochs, section.learning_rate, config.training.weight_decay)
    start = time.perf_counter()
    try:
        curve = fit(
            model, batches.reseeded(config.study.seed), run, follower=_Teller(tell, epochs)
        )
    except DivergedError as error:
        raise AutocompressError(f"model.learning_rate: training the {role}: {error}") from error
    contents = {
        "weights.safetensors": save(own_tensors(model)),
        "curve.json": [asdict(record) for record in curve],
        TRAINING_FILE: {
            "epochs": epochs,
            "seconds": time.perf_counter() - start,
            "threads": torch.get_num_threads(),
            "layout": str(batches.layout).removeprefix("torch."),
        },
    }
    write_folder(folder, contents)
    return model.eval()


class _Teller(Follower):
    """Tells of epochs as events."""

    def __init__(self, tell: Listener, epochs: int) -> None:
        self.tell = tell
        self.epochs = epochs

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        self.tell(EpochDone(record.stage, record.epoch, self.epochs, record.accuracy))


def prepare(
    config: StudyConfig,
    folder: Path,
    batches: Batches,
    tell: Listener,
    *,
    follower: Follower | None = None,
) -> Workbench:
    """Train (or reload) and measure the baseline, examine it, and lay out the workbench.

    Args:
        config: the resolved study.
        folder: the run's folder; ``baseline`` and ``teacher`` are written into it.
        batches: the study's data.
        tell: hears what happens.
        follower: hears of the batches and epochs of trials.
    """
    home = folder / "baseline"
    baseline = trained(config.model, batches, home, config, tell)
    teacher = None
    if config.teacher is not None:
        teacher = trained(config.teacher, batches, folder / "teacher", config, tell)
    batches = batches.laid_out_for(baseline, *([] if teacher is None else [teacher]))
    settings = latency_settings(config)
    example = latency_example(config, batches)
    metrics = _baseline_metrics(baseline, batches, home, settings, example)
    tell(BaselineReady(metrics))
    doubt = _doubt(config, metrics["accuracy"], len(batches.splits.classes))
    if doubt:
        tell(Message(doubt))
    ruler = Ruler(baseline, example, settings, reference_ms=metrics["latency_ms"])

    anatomy = examine(baseline, batches.example[:2])
    if not (home / UNITS_FILE).exists():
        write_json(home / UNITS_FILE, unit_facts(anatomy.units))

    return Workbench(
        baseline=baseline,
        baseline_metrics=metrics,
        teacher=teacher,
        anatomy=anatomy,
        batches=batches,
        ruler=ruler,
        limits=Limits(**config.limits.model_dump()),
        economy=Economy(
            draft=config.study.draft,
            early_stopping=config.study.early_stopping,
            harvest=config.study.harvest,
        ),
        folder=folder / "trials",
        seed=config.study.seed,
        follower=follower or Follower(),
    )


def _doubt(config: StudyConfig, accuracy: float, classes: int) -> str:
    """Say so where weights that were given do hardly better than chance on this data."""
    if config.model.weights is None or accuracy > NEAR_CHANCE / classes:
        return ""
    return (
        f"warning: with {config.model.weights} the baseline is right in {accuracy:.1%} of "
        f"validation images, and chance in {1 / classes:.1%}. Weights need images normalised as "
        "in their training (data.mean, data.std; by default those of the training images are "
        "taken) and the same order of classes; model.epochs trains them further"
    )


def unit_facts(units: Units) -> dict[str, Any]:
    """Return units as plain data: each group with why it stays if it does, and what is fixed."""
    groups = [
        {"layer": g.name, "kind": g.kind, "units": g.size, "not_removable": list(g.reasons)}
        for g in units.groups
    ]
    return {"units": groups, "fixed": dict(units.fixed)}


def latency_settings(config: StudyConfig) -> LatencySettings:
    """Return how this study measures latency."""
    return LatencySettings(**config.latency.model_dump())


def latency_example(config: StudyConfig, batches: Batches) -> torch.Tensor:
    """Return the batch whose latency is measured: ``latency.batch_size`` real images."""
    images = batches.example
    repeats = -(-config.latency.batch_size // len(images))
    return images.repeat(repeats, 1, 1, 1)[: config.latency.batch_size]


def _baseline_metrics(
    model: nn.Module,
    batches: Batches,
    home: Path,
    settings: LatencySettings,
    example: torch.Tensor,
) -> Mapping[str, Any]:
    path = home / "metrics.json"
    if path.exists():
        metrics: dict[str, Any] = read_json(path)
        return metrics
    latency = measure_reference(model, example, settings)
    metrics = {
        "accuracy": evaluate(model, batches.valid).accuracy,
        "valid_images": len(batches.splits.valid.labels),
        "latency_ms": latency.latency_ms,
        "latency_ratio": 1.0,
        "parameter_ratio": 1.0,
        **size_metrics(model, batches.example),
        "latency": latency.to_dict(),
    }
    write_json(path, metrics)
    return metrics
