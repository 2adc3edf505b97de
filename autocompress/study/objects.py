"""The front door: search with Python objects; a study file is its serial form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from autocompress.config import PYTHON, StudyConfig, study_from
from autocompress.data import Data, as_data, load_data
from autocompress.errors import ConfigurationError, UsageError, about
from autocompress.events import Message, Progress
from autocompress.execution import Executor
from autocompress.execution.inline import InlineExecutor
from autocompress.metrics import Metric
from autocompress.objectives import objectives_from
from autocompress.printing import progress_printer
from autocompress.problem import (
    Network,
    Problem,
    data_options,
    network_from,
    network_of,
    target_from,
    task_from,
)
from autocompress.runs import Run, layout
from autocompress.space.initial import DEFAULT_SPACE
from autocompress.study.budget import Amount
from autocompress.study.run import begin, go_on
from autocompress.targets import Effort, Target
from autocompress.tasks import Task
from autocompress.user_code import import_plugins


def search(  # noqa: PLR0913 (the values that a study is made of, all but two with a default)
    model: nn.Module | str | Any,
    data: Any = None,
    *,
    task: Task | str | None = None,
    target: Target | str | Mapping[str, Any] = "torch",
    effort: Effort | None = None,
    space: Mapping[str, Any] | None = None,
    objectives: Sequence[Metric | str] | None = None,
    limits: Mapping[str, float] | None = None,
    teacher: nn.Module | str | None = None,
    training: Mapping[str, Any] | None = None,
    trials: int | None = None,
    timeout_s: float | None = None,
    name: str = "search",
    directory: str | Path = "runs",
    seed: int = 0,
    batch_size: int = 64,
    study: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Search for smaller, faster versions of a model.

    Args:
        model: a trained network, a fastai ``Learner``, or a name as in study files. It is not
            changed.
        data: tensors, torch ``Dataset``s or ``DataLoader``s (see
            :func:`autocompress.data.as_data`), fastai ``DataLoaders``, a
            :class:`~autocompress.data.Data`, or a name as in study files. A ``Learner`` brings its
            own.
        task: what the model is for; by default classification.
        target: where it will run: a :class:`~autocompress.targets.Target`, the name of a runtime,
            or the ``[target]`` table of a study file.
        effort: how long latency is measured; by default what the ``[target]`` table says, or 5 s
            for each model.
        space: what is searched, as the ``[search]`` table of a study file: a name to a constant,
            a list, or ``{"low": ..., "high": ...}``. By default
            ``autocompress.space.initial.DEFAULT_SPACE``.
        objectives: one to five metrics, or their names; by default the task's first score,
            ``"latency_ms"`` and ``"parameters"``.
        limits: what a candidate must keep, as ``[limits]``: ``{"accuracy_drop": 0.02}``. By
            default none, or those of the run that is resumed; ``{}`` lifts these.
        teacher: what candidates learn from; by default the model itself.
        training: how each candidate is trained, as ``[training]``.
        trials: how many recipes are tried; by default 30, or as many as fit into ``timeout_s``.
        timeout_s: seconds after which no new trial starts.
        name: of the run's folder.
        directory: where that folder is made.
        seed: everything random derives from it.
        batch_size: of data that is not in batches yet.
        study: further keys of ``[study]``, such as ``{"sampler": "tpe"}``.
        executor: runs the trials; by default this process does, one after the other.
        resume: go on with the run of this name if there is one. Other limits than before are
            written into its study file.
        progress: receives events; by default they are printed as lines of text.

    Returns:
        the finished run: ``run.front()``, ``run.pick("fast")``, ``run.table()``.

    Raises:
        ConfigurationError: something does not exist or does not fit; the message names it.
        RunError: there is a run of this name and ``resume`` is off, or it is of another problem.
        KeyboardInterrupt: it was interrupted; what is finished is kept for ``resume``.

    Example:
        >>> import autocompress as ac
        >>> run = ac.search(net, (images, labels), trials=8, name="first")  # doctest: +SKIP
        >>> run.pick("balanced").metrics["latency_ms"].value  # doctest: +SKIP
    """
    model, data = _unpacked(model, data)
    task = "classification" if task is None else task
    _check_kinds(
        task=task, target=target, effort=effort, space=space, limits=limits, teacher=teacher,
        training=training, study=study,
    )  # fmt: skip
    folder = Path(directory) / name
    old = Run.open(folder) if resume and (folder / layout.HEADER).exists() else None
    if limits is None:
        limits = {} if old is None else old.config.get("limits", {})
    written = {
        "study": {"name": name, "seed": seed, **(study or {})},
        "data": {"source": data if isinstance(data, str) else f"{PYTHON}{type(data).__name__}"},
        "model": _model_section(model),
        "task": {"name": task if isinstance(task, str) else f"{PYTHON}{task.name}"},
        "target": _target_section(target, effort),
        "training": dict(training or {}),
        "search": dict(DEFAULT_SPACE if space is None else space),
        "limits": dict(limits),
    }
    if trials is not None:
        written["study"]["trials"] = trials
    if teacher is not None:
        written["teacher"] = _model_section(teacher)
    if not isinstance(data, str):
        written["data"]["batch_size"] = batch_size
    objects = Objects(model, teacher, data, task, target, objectives)
    problem = objects.problem(written)
    shared: dict[str, Any] = {
        "amount": Amount(trials=trials, timeout_s=timeout_s),
        "executor": executor or InlineExecutor(),
        "progress": progress or progress_printer(),
    }
    try:
        if old is not None:
            return go_on(problem, old, **shared)
        return begin(problem, directory=Path(directory), recipes=None, **shared)
    except KeyboardInterrupt:
        shared["progress"](
            Message(f"interrupted; to go on, call search again with resume=True: {folder}")
        )
        raise


@dataclass(frozen=True)
class Objects:
    """The objects that ``search`` was given."""

    model: nn.Module | str
    teacher: nn.Module | str | None
    data: Any
    task: Task | str
    target: Target | str | Mapping[str, Any]
    objectives: Sequence[Metric | str] | None

    def problem(self, written: Mapping[str, Any]) -> Problem:
        """Return what is searched.

        Args:
            written: the study, with names where objects were given.
        """
        if isinstance(self.objectives, list | tuple):
            names = list(map(_written_name, self.objectives))
            written = {**written, "study": {**written["study"], "objectives": names}}
        config = study_from(written)
        import_plugins(config.study.plugins)
        with about("task"):
            task = self.task if isinstance(self.task, Task) else task_from(config)
        with about("objectives"):
            objectives, own = objectives_from(self.objectives, task)
        with about("target"):
            if isinstance(self.target, Target):
                target, effort = self.target, config.target.effort
            else:
                target, effort = target_from(config)
        with about("data"):
            data = self._data(config, task)
        return Problem(
            config=config,
            model=self._network(self.model, config, data),
            teacher=None if self.teacher is None else self._network(self.teacher, config, data),
            data=data,
            task=task,
            target=target,
            effort=effort,
            objectives=objectives,
            own=own,
        )

    def _data(self, config: StudyConfig, task: Task) -> Data:
        seed = config.study.seed
        if isinstance(self.data, str):
            return load_data(**data_options(config), seed=seed, task=task)
        return as_data(self.data, task=task, batch_size=config.data.batch_size, seed=seed)

    def _network(self, model: nn.Module | str, config: StudyConfig, data: Data) -> Network:
        if isinstance(model, nn.Module):
            return network_of(model)
        section = config.model if model is self.model else config.teacher
        assert section is not None
        return network_from(section, data, config.study.seed)


def _written_name(metric: Any) -> str:
    """Return what a study file says for an objective, whatever was given as one."""
    name = getattr(metric, "name", "")
    return metric if isinstance(metric, str) else f"{PYTHON}{name}"


def _unpacked(model: Any, data: Any) -> tuple[nn.Module | str, Any]:
    """Take a fastai ``Learner`` apart; refuse what is no model, and a model without data."""
    if not isinstance(model, nn.Module | str) and hasattr(model, "dls"):
        data = model.dls if data is None else data
        model = model.model
    if not isinstance(model, nn.Module | str):
        raise UsageError(
            "model: expected a torch.nn.Module, a fastai Learner or the name of a factory, not "
            f"{type(model).__name__}"
        )
    if data is None:
        raise UsageError("data: expected what the model learns from; only a Learner brings it")
    return model, data


_TABLE = "a table, as a dictionary with the keys of a study file"
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "task": ((Task, str), "an autocompress.Task or the name of one"),
    "target": (
        (Target, str, Mapping),
        "an autocompress.Target, the name of a runtime, or " + _TABLE,
    ),
    "effort": ((Effort, type(None)), "an autocompress.targets.Effort"),
    "teacher": (
        (nn.Module, str, type(None)),
        "a torch.nn.Module or the name of a factory",
    ),
    "space": ((Mapping, type(None)), f"{_TABLE}: {{'sparsity': {{'low': 0.0, 'high': 0.9}}}}"),
    "limits": ((Mapping, type(None)), f"{_TABLE}: {{'accuracy_drop': 0.02}}"),
    "training": ((Mapping, type(None)), f"{_TABLE}: {{'epochs': 5}}"),
    "study": ((Mapping, type(None)), f"{_TABLE}: {{'sampler': 'tpe'}}"),
}
"""What each argument of ``search`` may be, and what messages call it."""


def _check_kinds(**given: Any) -> None:
    problems = [
        f"{name}: expected {_KINDS[name][1]}, not {type(value).__name__}"
        for name, value in given.items()
        if not isinstance(value, _KINDS[name][0])
    ]
    if problems:
        raise ConfigurationError(problems)


def _model_section(model: nn.Module | str) -> dict[str, Any]:
    if isinstance(model, str):
        return {"factory": model}
    return {"factory": f"{PYTHON}{type(model).__name__}", "epochs": 0}


def _target_section(
    target: Target | str | Mapping[str, Any], effort: Effort | None
) -> dict[str, Any]:
    given = {} if effort is None else asdict(effort)
    if isinstance(target, str):
        return {"runtime": target, **given}
    if isinstance(target, Mapping):
        return {**target, **given}
    return {"runtime": f"{PYTHON}{target.name}", "batch_size": target.batch_size, **given}
