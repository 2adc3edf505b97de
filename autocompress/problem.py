"""What a study is about, as Python objects: made of a study file, or given to ``search``."""

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from autocompress import models
from autocompress.artifacts import digest_of
from autocompress.config import ModelSection, StudyConfig, located
from autocompress.data import Data, load_data
from autocompress.errors import ConfigurationError, about
from autocompress.metrics import Limits, Metric
from autocompress.metrics.metric import KNOWN
from autocompress.objectives import objectives_from
from autocompress.targets import Effort, Target
from autocompress.tasks import TASKS, Task
from autocompress.training.fitting import seed_everything
from autocompress.user_code import call_function, import_plugins

Build = Callable[[], nn.Module]
ARGUMENTS = {
    "data.source": "data",
    "model.factory": "model",
    "study.objectives": "objectives",
    "target.runtime": "target",
    "teacher.factory": "teacher",
}
"""What the keys of a study file are called where it is given as Python objects."""


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

    Raises:
        ConfigurationError: a limit is on no metric of the study, or outside its range.
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

    def __post_init__(self) -> None:
        """Check the limits, which may be on metrics of the user's own."""
        self.limits  # noqa: B018 (what is wrong with them raises)

    @property
    def limits(self) -> Limits:
        """What a candidate must keep to."""
        return Limits.from_mapping(self.config.limits, self.metrics)

    @contextmanager
    def naming(self, key: str) -> Iterator[None]:
        """Begin what is wrong inside with the key of the study file, or with the argument.

        Args:
            key: of the study file: ``"model.factory"``.
        """
        of_file = self.config.rebuildable
        with located(self.config.places), about(key if of_file else ARGUMENTS.get(key, key)):
            yield

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that is known of a model: scores, latency, sizes, and the user's own."""
        scores = [score.metric for score in self.task.scores]
        return (*scores, *KNOWN.values(), *self.own)

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
    with located(config.places):
        return _built(config)


def _built(config: StudyConfig) -> Problem:
    """Build what a study file names: what is soon found to be wrong before data is loaded."""
    seed = config.study.seed
    with about("study.plugins"):
        import_plugins(config.study.plugins)
    with about("task.name"):
        task = task_from(config)
    with about("study.objectives"):
        objectives, own = objectives_from(config.study.objectives, task)
    with about("target.runtime"):
        target, effort = target_from(config)
    with about("data.source"):
        data = load_data(**data_options(config), seed=seed, task=task)
    return Problem(
        config=config,
        model=network_from(config.model, data, seed),
        teacher=None if config.teacher is None else network_from(config.teacher, data, seed),
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
                f"expected {name!r} to return an autocompress.Task, not {type(made).__name__}"
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
            f"expected {settings.runtime!r} to return an autocompress.Target, not "
            f"{type(made).__name__}"
        )
    return made, settings.effort


def data_options(config: StudyConfig) -> dict[str, Any]:
    """Return the arguments that ``load_data`` takes, from ``[data]``."""
    given = {entry.name: getattr(config.data, entry.name) for entry in fields(config.data)}
    return {name: value for name, value in given.items() if value is not None}


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
