"""What a study is about, as Python objects: made of a study file, or given to ``search``."""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from autocompress import models
from autocompress.artifacts import digest_of
from autocompress.config import ModelSection, StudyConfig
from autocompress.data import Data, load_data
from autocompress.errors import ConfigurationError
from autocompress.metrics import Limits, Metric
from autocompress.metrics.metric import KNOWN, LATENCY, PARAMETERS
from autocompress.targets import Effort, Target
from autocompress.tasks import TASKS, Task
from autocompress.training.fitting import seed_everything
from autocompress.training.layout import try_training
from autocompress.user_code import call_function, find_object, import_plugins

Build = Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of a study: the baseline or the teacher.

    Attributes:
        structure: builds it, with any weights.
        initial: builds it with the weights that it starts with.
        title: where it comes from, for messages.
        has_weights: whether it was trained before.
    """

    structure: Build
    initial: Build
    title: str
    has_weights: bool


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a study is about.

    Attributes:
        config: the study: names, numbers and the search space.
        model: what is compressed.
        teacher: what candidates learn from; ``None``: the baseline.
        data: what they learn from and are scored on.
        task: their loss and scores.
        target: where they will run.
        effort: how long latency is measured.
        objectives: what the search improves, one to five.
        own: metrics that the user added, objectives or not.
    """

    config: StudyConfig
    model: Network
    teacher: Network | None
    data: Data
    task: Task
    target: Target
    effort: Effort
    objectives: tuple[Metric, ...]
    own: tuple[Metric, ...] = ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that is known of a model: scores, latency, sizes, and the user's own."""
        scores = [score.metric for score in self.task.scores]
        return (*scores, *KNOWN.values(), *self.own)

    @property
    def limits(self) -> Limits:
        """What a candidate must keep to.

        Raises:
            ConfigurationError: a limit is on no metric of this study, or outside its range.
        """
        return Limits.from_mapping(self.config.limits, self.metrics)

    @property
    def example(self) -> Tensor:
        """Inputs of one call on the target: real ones, repeated to its batch size."""
        items, size = self.data.example, self.target.batch_size
        repeats = -(-size // len(items))
        return items.repeat(repeats, *[1] * (items.ndim - 1))[:size]


def problem_from(config: StudyConfig) -> Problem:
    """Build what a study file names.

    Raises:
        ConfigurationError: something does not exist or does not fit.
    """
    if not config.rebuildable:
        raise ConfigurationError(
            f"study {config.study.name!r} was given Python objects, which its file cannot hold: "
            "call autocompress.search with the same objects and resume=True, or name them in the "
            "file as 'package.module:function'"
        )
    import_plugins(config.study.plugins)
    task = task_from(config)
    data = load_data(**data_options(config), seed=config.study.seed, task=task)
    target, effort = target_from(config)
    objectives, own = objectives_from(config.study.objectives, task)
    return Problem(
        config=config,
        model=network_from(config.model, data, config.study.seed),
        teacher=(
            None
            if config.teacher is None
            else network_from(config.teacher, data, config.study.seed)
        ),
        data=data,
        task=task,
        target=target,
        effort=effort,
        objectives=objectives,
        own=own,
    )


def task_from(config: StudyConfig) -> Task:
    """Build the task of a study: one of ``TASKS``, or what a function of the user's returns."""
    name, kwargs = config.task.name, config.task.kwargs
    if ":" in name:
        made = call_function(name, "task", lambda _: dict(kwargs))
        if not isinstance(made, Task):
            raise ConfigurationError(
                f"task {name!r}: expected an autocompress.Task, not {type(made).__name__}"
            )
        return made
    built: Task = TASKS[name](**kwargs)
    return built


def target_from(config: StudyConfig) -> tuple[Target, Effort]:
    """Build the target of a study, and the effort of its measurements."""
    settings = config.target
    target = settings.local
    if target is not None:
        return target, settings.effort
    made = call_function(settings.runtime, "target", lambda _: {})
    if not isinstance(made, Target):
        raise ConfigurationError(
            f"target.runtime {settings.runtime!r}: expected an autocompress.Target, not "
            f"{type(made).__name__}"
        )
    return made, settings.effort


def data_options(config: StudyConfig) -> dict[str, Any]:
    """Return the arguments that ``load_data`` takes, from ``[data]``."""
    given = {entry.name: getattr(config.data, entry.name) for entry in fields(config.data)}
    return {name: value for name, value in given.items() if value is not None}


def objectives_from(
    names: tuple[str | Metric, ...] | None, task: Task
) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
    """Return the objectives that are named, and which of them the user added.

    Args:
        names: of metrics, ``"package.module:name"``, or metrics; ``None``: the task's first
            score, latency and parameters.
        task: its scores are known by name.

    Raises:
        ConfigurationError: there is no such metric, one is named twice, or there are not one to
            five.
    """
    known = {score.metric.name: score.metric for score in task.scores} | KNOWN
    if names is None:
        return (task.score, LATENCY, PARAMETERS), ()
    found: list[Metric] = []
    own: list[Metric] = []
    for name in names:
        if isinstance(name, str) and name in known:
            found.append(known[name])
            continue
        metric = name if isinstance(name, Metric) else _own_metric(name, known)
        if metric.name in known:
            raise ConfigurationError(
                f"objectives: {metric.name!r} is the name of a metric that every run has; give "
                "yours another name"
            )
        if metric.measure is None:
            raise ConfigurationError(
                f"objectives: the metric {metric.name!r} has no function that measures it"
            )
        found.append(metric)
        own.append(metric)
    given = [metric.name for metric in found]
    if not 1 <= len(given) <= 5 or len(set(given)) < len(given):
        raise ConfigurationError(
            f"objectives: expected one to five different metrics, not {given}"
        )
    return tuple(found), tuple(own)


def _own_metric(name: str, known: Mapping[str, Metric]) -> Metric:
    if ":" not in name:
        raise ConfigurationError(
            f"objectives: unknown metric {name!r}; allowed: {', '.join(known)}, or "
            "'package.module:name' of a metric of your own"
        )
    found = find_object(name, "metric")
    if not isinstance(found, Metric):
        raise ConfigurationError(
            f"objectives: {name!r} is no autocompress.Metric but {type(found).__name__}; the "
            "decorator @autocompress.metric makes one of a function"
        )
    return found


def network_from(section: ModelSection, data: Data, seed: int) -> Network:
    """Return a network that a study file names: built for its data, with the weights it names."""
    structure = functools.partial(
        models.build, section.factory, section.kwargs, **sizes_for_models(data)
    )

    def initial() -> nn.Module:
        seed_everything(seed)
        model: nn.Module = structure()
        if section.weights is not None:
            models.load_weights(model, section.weights, factory=section.factory)
        return model

    return Network(
        structure=structure,
        initial=initial,
        title=section.factory,
        has_weights=section.weights is not None,
    )


def sizes_for_models(data: Data) -> dict[str, int | None]:
    """Return the arguments of ``models.build`` that follow from data.

    Only images ``[n, channels, height, width]`` have channels that a model is fitted to.
    """
    classes = data.describe().get("classes")
    return {
        "num_classes": None if classes is None else len(classes),
        "channels": data.example.shape[1] if data.example.ndim == 4 else None,
    }


def network_of(model: nn.Module) -> Network:
    """Return a network that exists already, as a study takes it: copies of it."""

    def copied() -> nn.Module:
        return copy.deepcopy(model).cpu()

    return Network(structure=copied, initial=copied, title=type(model).__name__, has_weights=True)


def check_model(model: nn.Module, data: Data, task: Task) -> Any:
    """Run one batch through a model, forward and backward, and return its outputs.

    Args:
        model: put into eval mode, on the device of the data.
        data: its first validation batch is taken.
        task: knows what outputs must look like.

    Raises:
        ConfigurationError: the inputs don't fit the model, its outputs don't fit the task, or it
            can't be trained.
    """
    inputs, targets = next(iter(data.valid))
    inputs, targets = inputs[: len(data.example)], _first(targets, len(data.example))
    given = f"inputs {list(inputs.shape)}"
    model.to(data.device).eval()
    try:
        with torch.no_grad():
            outputs = model(inputs.as_subclass(Tensor))
    except Exception as error:
        raise ConfigurationError(
            f"data.image_size, model.factory: {given} do not fit the model: "
            f"{type(error).__name__}: {error}"
        ) from error
    if task.check is not None:
        try:
            task.check(outputs, targets)
        except ValueError as error:
            raise ConfigurationError(f"model.factory: for {given}: {error}") from error
    try:
        try_training(model, data.example, torch.preserve_format)
    except Exception as error:
        raise ConfigurationError(
            f"model.factory: the model cannot be trained: {type(error).__name__}: {error}"
        ) from error
    return outputs


def _first(targets: Any, count: int) -> Any:
    return targets[:count] if isinstance(targets, Tensor) else targets


FROZEN_DATA = ("mean", "std", "batch_size", "augmentation")  # keys of [data], besides its content


def digests(problem: Problem) -> dict[str, str]:
    """Return what must not change while a run is resumed; ``[limits]`` may.

    Of the data it is the content that counts, wherever it lies.
    """
    tables = problem.config.to_dict()
    names = ("search", "model", "teacher", "training", "target", "task")
    frozen: dict[str, Any] = {name: tables.get(name) for name in names}
    frozen |= {f"data.{key}": tables["data"].get(key) for key in FROZEN_DATA}
    frozen |= {
        "study.seed": problem.config.study.seed,
        "objectives": [metric.to_dict() for metric in problem.objectives],
    }
    found = {name: digest_of(value) for name, value in frozen.items()}
    return {**found, "data": problem.data.fingerprint()}
