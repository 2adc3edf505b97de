"""The sections of a study file. Those of data, training and target are their settings classes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autocompress.config.places import Places
from autocompress.data.settings import DataSettings
from autocompress.reading import plain
from autocompress.samplers import SAMPLERS
from autocompress.settings import check, describe, setting
from autocompress.space.allocation import ALLOCATIONS, UNIFORM
from autocompress.space.parameters import path_of
from autocompress.space.space import Space
from autocompress.targets.settings import TargetSettings
from autocompress.tasks import TASKS
from autocompress.training.fitting import Training

PYTHON = "python:"  # begins the name of what only exists as a Python object
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def parse_duration(value: Any) -> Any:
    """Return seconds for ``"90s"``, ``"30m"``, ``"1h30m"`` or ``"2d"``; pass on anything else.

    Raises:
        ValueError: a text that is not a duration.
    """
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or _DURATION.sub("", value).strip():
        raise ValueError(f"expected seconds or a duration such as '30m' or '1h30m', got {value!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _is_name(value: str) -> str:
    if _NAME.fullmatch(value):
        return ""
    return "expected up to 100 letters, digits, '.', '_' and '-', a letter or digit first"


def _not_empty(value: str) -> str:
    return "" if value else "expected a text that is not empty"


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """``[study]``.

    Attributes:
        name: of the run's folder.
        seed: everything random derives from it.
        trials: how many recipes are tried.
        timeout_s: seconds after which no new trial starts; ``timeout`` in the file.
        trial_timeout_s: seconds after which a trial has failed; ``trial_timeout`` in the file.
            ``None``: 10 times the slowest complete trial for each worker, at least 10 minutes, and
            a day while none is complete.
        trial_memory_gb: memory in GB (10^9 bytes) above which a trial has failed, where trials
            run in a pool of processes; ``None`` is no limit.
        sampler: who proposes recipes; ``"auto"`` decides by what a trial costs.
        objectives: one to five metrics; ``None``: the task's first score, latency, parameters.
        plugins: modules that are imported first, in every process: they register the user's own
            criteria, stages and so on.
        estimate: estimate each recipe's structure before training, and end where it breaks a
            limit.
        early_stopping: end trials that can no longer enter the front.
        derive: finish training runs in several ways, where that costs little.
    """

    name: str = setting(help="of the run's folder", check=_is_name)
    seed: int = setting(0, help="everything random derives from it", low=0, high=2**32 - 1)
    trials: int = setting(30, help="how many recipes are tried", low=1)
    timeout_s: float | None = setting(
        None,
        help="no new trial starts after this time",
        low=0,
        above=True,
        key="timeout",
        parse=parse_duration,
    )
    trial_timeout_s: float | None = setting(
        None,
        help="a trial that takes longer fails",
        low=0,
        above=True,
        key="trial_timeout",
        parse=parse_duration,
    )
    trial_memory_gb: float | None = setting(
        None, help="a trial whose process takes more memory fails", low=0, above=True
    )
    sampler: str = setting("auto", help="who proposes recipes", names=SAMPLERS)
    objectives: tuple[str, ...] | None = setting(None, help="one to five metrics")
    plugins: tuple[str, ...] = setting((), help="modules that are imported first")
    estimate: bool = setting(True, help="end trials whose structure breaks a limit, untrained")
    early_stopping: bool = setting(True, help="end trials that can no longer enter the front")
    derive: bool = setting(True, help="finish training runs in several ways")

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)


@dataclass(frozen=True, kw_only=True)
class TaskSection:
    """``[task]``: what the model is for.

    Attributes:
        name: a name of ``TASKS``, or ``"package.module:function"``, which returns a task.
        kwargs: arguments of that function.
    """

    name: str = setting(
        "classification", help="what the model is for", names=TASKS, references=True
    )
    kwargs: Mapping[str, Any] = setting(dict, help="arguments of the task")

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)


@dataclass(frozen=True, kw_only=True)
class DataSection(DataSettings):
    """``[data]``: the settings of data, and where it comes from.

    Attributes:
        source: ``"digits"``, ``"fashion-mnist"``, ``"imagenette"``, ``"torchvision:NAME"``,
            ``"folder:PATH"`` or ``"package.module:function"``.
    """

    source: str = setting(help="a name, folder:PATH or a function", check=_not_empty)


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """``[model]`` and ``[teacher]``.

    Attributes:
        factory: ``"torchvision:NAME"``, ``"autocompress:NAME"`` or ``"package.module:function"``.
        kwargs: arguments of the factory.
        weights: a ``.safetensors`` file, a state dict, or a name the factory knows.
        epochs: how long the model is trained before it is compressed; 0 takes it as it is.
        learning_rate: peak learning rate of that training.
    """

    factory: str = setting(help="what builds the model", check=_not_empty)
    kwargs: Mapping[str, Any] = setting(dict, help="arguments of the factory")
    weights: str | None = setting(None, help="a file, or a name that the factory knows")
    epochs: int = setting(10, help="of training before it is compressed", low=0)
    learning_rate: float = setting(
        1e-3, help="peak learning rate of that training", low=0, above=True, high=10
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)


@dataclass(frozen=True, kw_only=True)
class SearchSection:
    """``[search]``: one key for each parameter, a constant, a list, or ``{low, high, step, log}``.

    Attributes:
        params: values by parameter, a path into the recipe or its short name.
        exclude: patterns (``fnmatch``) of layers that no technique touches.
        allocation: how the sparsity is spread over the groups of channels.
    """

    params: Mapping[str, Any]
    exclude: tuple[str, ...] = setting((), help="patterns of layers that no technique touches")
    allocation: str = setting(
        UNIFORM, help="how sparsity is spread over groups", names=ALLOCATIONS, references=True
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)

    @property
    def paths(self) -> frozenset[str]:
        """The settings of a recipe that the table names, by their paths."""
        return frozenset(map(path_of, self.params))


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A whole study file, checked; every default is filled in.

    Attributes:
        places: where each key was read, by its path: ``"study.toml:7: "``; empty for a study that
            was not read from a file.
    """

    study: StudySection
    data: DataSection
    model: ModelSection
    teacher: ModelSection | None = None
    task: TaskSection = field(default_factory=TaskSection)
    training: Training = field(default_factory=Training)
    target: TargetSettings = field(default_factory=TargetSettings)
    search: SearchSection
    limits: Mapping[str, float] = field(default_factory=dict)
    places: Places = field(default_factory=dict, compare=False, repr=False)

    def space(self, *, conditional: bool = True) -> Space:
        """Return the search space that ``[search]`` and ``[training]`` describe.

        Args:
            conditional: leave out parameters without effect, instead of sampling all of them.
        """
        return Space(
            dimensions=self.search.params,
            training=self.training,
            exclude=self.search.exclude,
            conditional=conditional,
            allocation=self.search.allocation,
        )

    @property
    def rebuildable(self) -> bool:
        """Whether the file says all: another process can build what the study is about."""
        teacher = [] if self.teacher is None else [self.teacher.factory]
        names = [self.data.source, self.model.factory, self.task.name, self.target.runtime]
        names += [*teacher, *(self.study.objectives or ())]
        return not any(name.startswith(PYTHON) for name in names)

    def to_dict(self) -> dict[str, Any]:
        """Return the tables of the file as plain data; what is not set is left out."""
        tables = {name: _table(getattr(self, name)) for name in describe(StudyConfig)}
        search = {"allocation": self.search.allocation, "exclude": list(self.search.exclude)}
        tables["search"] = {**plain(self.search.params), **search}
        return {name: table for name, table in tables.items() if table is not None}


def _table(section: Any) -> Any:
    if section is None or isinstance(section, Mapping):
        return plain(section)
    keys = {name: entry.key for name, entry in describe(type(section)).items()}
    return {keys[n]: v for n, v in plain(section).items() if v is not None}
