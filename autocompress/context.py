"""What all trials of a run share: the baseline, trained, measured and analyzed."""

import copy
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from autocompress.artifacts import write_folder, write_json
from autocompress.errors import AutocompressError, DivergedError
from autocompress.evaluation import Evaluator
from autocompress.events import BaselineReady, EpochDone, Message, Progress
from autocompress.graph import Units
from autocompress.metrics import Limits, Metric
from autocompress.model_check import check_model
from autocompress.pipeline import State, Work
from autocompress.problem import Network, Problem
from autocompress.results import EpochRecord, Estimates
from autocompress.runs import layout
from autocompress.runs.folder import Folder
from autocompress.runs.store import load_tensors, own_tensors
from autocompress.runs.stored import Baseline, Structure, UnitFacts
from autocompress.short_repr import short_repr
from autocompress.targets import LatencyBenchmark, Profiling
from autocompress.techniques.analysis import Analysis, analyze
from autocompress.training.fitting import Fit, Monitor, fit, seed_everything

NEAR_CHANCE = 2.0  # times as often right as chance: hardly what somebody trained


@short_repr
@dataclass(frozen=True, kw_only=True)
class Context:
    """What all trials of a run share.

    Attributes:
        problem: model, data, task and target of the study.
        baseline: the trained network that is compressed.
        baseline_metrics: what it is worth.
        teacher: what candidates learn from; ``None`` is the baseline.
        analysis: what surgery can do to the baseline.
        evaluator: scores candidates and measures them beside the baseline.
        folder: of the run.
        monitor: receives each training batch and epoch; may end a trial between two batches.
    """

    problem: Problem
    baseline: nn.Module
    baseline_metrics: Estimates
    teacher: nn.Module | None
    analysis: Analysis
    evaluator: Evaluator
    folder: Path
    monitor: Monitor

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """What the search improves."""
        return self.problem.objectives

    @property
    def limits(self) -> Limits:
        """What a candidate must keep to."""
        return self.problem.limits

    @property
    def seed(self) -> int:
        """What training derives from, the same in every trial."""
        return self.problem.config.study.seed

    def work(self, monitor: Monitor | None = None, *, dry: bool = False) -> Work:
        """Return what the stages of a trial share."""
        return Work(
            data=self.problem.data,
            task=self.problem.task,
            analysis=self.analysis,
            teacher=self.baseline if self.teacher is None else self.teacher,
            seed=self.seed,
            monitor=self.monitor if monitor is None else monitor,
            dry=dry,
        )

    @property
    def start(self) -> State:
        """The baseline, before the first stage of a recipe."""
        return State(self.baseline)

    def close(self) -> None:
        """Free what the baseline holds on the target; nothing can be measured afterwards."""
        if self.evaluator.benchmark is not None:
            self.evaluator.benchmark.close()


def prepare(
    problem: Problem, folder: Path, progress: Progress, *, monitor: Monitor | None = None
) -> Context:
    """Train (or reload), measure and analyze the baseline; close what is returned.

    Args:
        problem: the study.
        folder: of the run; ``baseline`` and ``teacher`` are written into it.
        progress: receives events.
        monitor: receives the batches and epochs of trials.
    """
    baseline = trained(problem.model, problem, folder / layout.BASELINE, progress)
    teacher = None
    if problem.teacher is not None:
        teacher = trained(problem.teacher, problem, folder / layout.TEACHER, progress)
    evaluator = evaluator_of(problem)
    metrics = _baseline_metrics(baseline, evaluator, folder)
    progress(BaselineReady(metrics))
    doubt = _doubt(problem, metrics)
    if doubt:
        progress(Message(doubt))
    analysis = analyze(baseline, problem.data.example[:2])
    units = folder / layout.BASELINE / layout.UNITS
    if not units.exists():
        write_json(units, structure_of(analysis.units).to_dict())
    session = evaluator.open(evaluator.prepare(baseline))
    benchmark = LatencyBenchmark(
        problem.target, session, problem.effort, reference_ms=metrics["latency_ms"].value
    )
    return Context(
        problem=problem,
        baseline=baseline,
        baseline_metrics=metrics,
        teacher=teacher,
        analysis=analysis,
        evaluator=replace(evaluator, benchmark=benchmark),
        folder=folder,
        monitor=monitor or Monitor(),
    )


def evaluator_of(problem: Problem) -> Evaluator:
    """Return the evaluator of a study, before there is a baseline to compare with."""
    return Evaluator(
        data=problem.data,
        task=problem.task,
        target=problem.target,
        example=problem.example,
        effort=problem.effort,
        profiling=Profiling(
            threads=problem.config.target.threads,
            channels_last=problem.config.target.channels_last,
        ),
        own=problem.own,
    )


def trained(network: Network, problem: Problem, folder: Path, progress: Progress) -> nn.Module:
    """Return a network of the study in eval mode, trained now or in an earlier session.

    It is trained for the epochs that the study says, and kept in ``folder`` with its curve.
    """
    data, config = problem.data, problem.config
    kept = folder / layout.WEIGHTS
    if kept.exists():
        model = network.structure()
        load_tensors(model, kept)
        return model.to(data.device).eval()
    model = network.initial().to(data.device)
    role = folder.name
    section = config.model if role == layout.BASELINE or config.teacher is None else config.teacher
    with problem.naming("model.factory" if section is config.model else "teacher.factory"):
        check_model(model, data, problem.task)
    if section.epochs:
        progress(Message(f"training the {role} ({network.title}) for {section.epochs} epochs"))
    seed_everything(config.study.seed)
    run = Fit(role, section.epochs, section.learning_rate, config.training.weight_decay)
    start = time.perf_counter()
    try:
        curve = fit(
            model,
            data,
            problem.task,
            run,
            seed=config.study.seed,
            monitor=_ReportEpochs(progress, section.epochs),
        )
    except DivergedError as error:
        raise AutocompressError(f"model.learning_rate: training the {role}: {error}") from error
    contents = {
        layout.WEIGHTS: save(own_tensors(model)),
        layout.CURVE: [asdict(record) for record in curve],
        layout.TRAINING: {
            "epochs": section.epochs,
            "seconds": time.perf_counter() - start,
            "threads": torch.get_num_threads(),
        },
    }
    write_folder(folder, contents)
    return model.eval()


class _ReportEpochs(Monitor):
    """Reports epochs as events."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self.progress = progress
        self.epochs = epochs

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        self.progress(EpochDone(record.stage, record.epoch, self.epochs, record.score))


def structure_of(units: Units) -> Structure:
    """Return what pruning can and cannot do, as it is stored."""
    groups = [
        UnitFacts(layer=g.name, kind=g.kind, units=g.size, not_removable=tuple(g.reasons))
        for g in units.groups
    ]
    return Structure(units=tuple(groups), fixed=dict(units.fixed))


def _baseline_metrics(model: nn.Module, evaluator: Evaluator, folder: Path) -> Estimates:
    stored = Folder(folder).baseline()
    if stored.metrics:
        return stored.metrics
    found = evaluator(copy.deepcopy(model))
    measured = Baseline(metrics=found.metrics, samples_ms=found.latency.samples_ms)
    document = {**measured.to_dict(), "latency": found.latency.to_dict()}
    write_json(folder / layout.BASELINE / layout.EVALUATION, document)
    return found.metrics


def _doubt(problem: Problem, metrics: Estimates) -> str:
    """Say so where weights that were given do hardly better than chance on this data."""
    classes = problem.data.describe().get("classes")
    score = problem.task.score
    is_share = score.format == "fraction" and score.direction == "maximize"
    if not problem.model.has_weights or classes is None or not is_share:
        return ""
    value = metrics[score.name].value
    if value > NEAR_CHANCE / len(classes):
        return ""
    weights = problem.config.model.weights
    return (
        f"warning: with the weights it was given{f' ({weights})' if weights else ''} the baseline "
        f"has {score.title} {value:.1%} on validation items, where chance has "
        f"{1 / len(classes):.1%}. Weights need images normalised as "
        "in their training (data.mean, data.std; by default those of the training images are "
        "taken) and the same order of classes; model.epochs trains them further"
    )
