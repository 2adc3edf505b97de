"""A recipe: everything that one trial decides, as frozen settings that go to JSON and back."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any, Self

from autocompress.errors import ConfigurationError
from autocompress.reading import Misfit, build, converted, in_lines, plain, read
from autocompress.registry import Registry, did_you_mean
from autocompress.settings import Described, Rule, check, describe, setting
from autocompress.short_repr import short_repr
from autocompress.targets.precision import Precision
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

EXTRA_SETTINGS: Registry[type] = Registry("stage", {})
"""Settings classes of stages that a user added, by the stage's name; ``add_stage`` fills it."""
EXTRA = "extra"


@short_repr
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to the model that a trial starts from. ``None`` leaves a stage out.

    Attributes:
        distillation: how the teacher's outputs join the loss, in every training run.
        sparsification: what is driven to zero, and when.
        pruning: how zeroed units are removed.
        factorization: which weights are replaced by products of thin ones, before the recovery.
        late_factorization: the same after the recovery: no training makes up for what it costs.
        fold: whether batch norms are folded into their neighbours at the end.
        training: epochs and learning rates.
        precision: of the deployed model; ``compress`` stays in float32.
        start: number of the trial whose trainable weights it starts from; ``None``: the baseline.
        extra: settings of the stages that ``add_stage`` added, by the stage's name.

    Raises:
        ConfigurationError: names everything that is wrong.

    Example:
        >>> recipe = Recipe(sparsification=Sparsification(sparsity=0.5))
        >>> recipe.with_values({"sparsification.end": 0.5}).sparsification.end
        0.5
        >>> Recipe.from_dict(recipe.to_dict()) == recipe
        True
    """

    distillation: Distillation | None = setting(None, help="learn from a teacher")
    sparsification: Sparsification | None = setting(None, help="drive weights to zero")
    pruning: Pruning | None = setting(
        None, help="whether zeroed units are removed", needs="sparsification"
    )
    factorization: Factorization | None = setting(None, help="replace weights by thin products")
    late_factorization: Factorization | None = setting(None, help="the same after the recovery")
    fold: bool = setting(True, help="whether batch norms are folded")
    training: Training = setting(Training, help="epochs and learning rates")
    precision: Precision = setting("fp32", help="of the deployed model")
    start: int | None = setting(None, help="number of the trial that it starts from", low=0)
    extra: Mapping[str, Any] = setting(dict, help="settings of stages that were added")

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _stages_exist)

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, ready for JSON; ``from_dict`` reads them."""
        values: dict[str, Any] = plain(self)
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a recipe from what ``to_dict`` returned, here or in release 0.1.

        Raises:
            ConfigurationError: names everything that is wrong, each with its path.
        """
        added, problems = _read_extra(data.get(EXTRA, {}))
        recipe, found = read(cls, {**data, EXTRA: added})
        problems += found
        if recipe is None or problems:
            raise ConfigurationError(in_lines(problems, "recipe"))
        return recipe

    @classmethod
    def paths(cls) -> dict[str, Described]:
        """Return every dotted path into a recipe, with help, bounds and default of its setting.

        Example:
            >>> Recipe.paths()["distillation.weight"].rule.help
            'share of the distillation loss'
        """
        found: dict[str, Described] = {}
        for name, entry in describe(cls).items():
            if name != EXTRA:
                found |= _paths_below(name, entry)
        for stage, settings in EXTRA_SETTINGS.items():
            optional = Described(stage, settings | None, None, Rule(help=f"the stage {stage}"))
            found |= _paths_below(f"{EXTRA}.{stage}", optional)
        return found

    def value(self, path: str) -> Any:
        """Return the value at a dotted path; ``None`` within a stage that is left out.

        Raises:
            ConfigurationError: there is no such path.
        """
        known_path(path)
        found: Any = self
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
        return found

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a recipe with other values at some paths.

        A stage that is left out is added, with the defaults of its other settings.

        Args:
            values: by dotted path, such as ``"sparsification.end"``; at the path of a stage, its
                settings or ``None``.

        Raises:
            ConfigurationError: names everything that is wrong, each with its path.
        """
        problems: list[str] = []
        changes: dict[str, Any] = {}
        for stage, inner in _by_stage(values, problems).items():
            found = self._changed(stage, inner)
            changes[stage] = found[0]
            problems += in_lines(found[1], stage)
        if problems:
            raise ConfigurationError(problems)
        own = {name: value for name, value in changes.items() if not name.startswith(f"{EXTRA}.")}
        added = {n.removeprefix(f"{EXTRA}."): v for n, v in changes.items() if n not in own}
        extra = {name: v for name, v in {**self.extra, **added}.items() if v is not None}
        recipe, contradictions = build(type(self), {**vars(self), **own, EXTRA: extra})
        if recipe is None:
            raise ConfigurationError(in_lines(contradictions, ""))
        return recipe

    def _changed(self, stage: str, inner: Mapping[str, Any]) -> tuple[Any, list[Misfit]]:
        """Return the settings of a stage with other values, and what is wrong with these."""
        entry = self.paths()[stage]
        settings = inner.get("", self.value(stage))
        fields = {name: value for name, value in inner.items() if name}
        if entry.nested is None or not fields:
            misfit = entry.misfit(settings)
            return settings, [((), misfit)] if misfit else []
        return changed(entry.nested, settings, fields)


def changed(cls: type, settings: Any, values: Mapping[str, Any]) -> tuple[Any, list[Misfit]]:
    """Return settings with other values, and what is wrong with these.

    Args:
        cls: of the settings.
        settings: ``None`` takes the defaults.
        values: by the fields' names, which exist.
    """
    known = describe(cls)
    fitting = {name: converted(value, known[name].hint) for name, value in values.items()}
    problems: list[Misfit] = [
        ((name,), misfit)
        for name, value in fitting.items()
        if (misfit := known[name].misfit(value))
    ]
    if settings is None:
        problems += [
            ((name,), "missing")
            for name, entry in known.items()
            if entry.default is MISSING and name not in fitting
        ]
    if problems:
        return None, problems
    if settings is None:
        return build(cls, fitting)
    try:
        return replace(settings, **fitting), []
    except (ConfigurationError, TypeError, ValueError):
        kept = {name: getattr(settings, name) for name in known}
        return build(cls, {**kept, **fitting})


def known_path(path: str) -> Described:
    """Return what is said of a dotted path into a recipe.

    Raises:
        ConfigurationError: there is no such path.
    """
    known = Recipe.paths()
    if path not in known:
        raise ConfigurationError(
            f"a recipe has no {path!r}{did_you_mean(path, known)}; its stages and settings are: "
            f"{', '.join(known)}"
        )
    return known[path]


def _by_stage(values: Mapping[str, Any], problems: list[str]) -> dict[str, dict[str, Any]]:
    """Group values by stage, the stage's own as ``""``; what is unknown joins the problems."""
    found: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        try:
            known_path(path)
        except ConfigurationError as error:
            problems += error.problems
            continue
        depth = 2 if path.startswith(f"{EXTRA}.") else 1
        parts = path.split(".")
        stage, inner = ".".join(parts[:depth]), ".".join(parts[depth:])
        found.setdefault(stage, {})[inner] = value
    return found


def _paths_below(path: str, entry: Described) -> dict[str, Described]:
    found = {path: entry}
    if entry.nested is not None:
        found |= {f"{path}.{name}": inner for name, inner in describe(entry.nested).items()}
    return found


def _read_extra(data: Any) -> tuple[Any, list[Misfit]]:
    """Return the settings of added stages, and what is wrong with them."""
    if not isinstance(data, Mapping):
        return data, []
    found: dict[str, Any] = {}
    problems: list[Misfit] = []
    for stage, values in data.items():
        if stage not in EXTRA_SETTINGS:
            problems.append(((EXTRA, stage), unknown_stage(stage)))
            continue
        known: type[Any] = EXTRA_SETTINGS[stage]
        settings, wrong = read(known, values)
        problems += [((EXTRA, stage, *path), text) for path, text in wrong]
        if settings is not None:
            found[stage] = settings
    return found, problems


def _stages_exist(extra: Mapping[str, Any]) -> str:
    for stage, settings in extra.items():
        if stage not in EXTRA_SETTINGS:
            return f"{EXTRA}.{stage}: {unknown_stage(stage)}"
        if not isinstance(settings, EXTRA_SETTINGS[stage]):
            wanted = EXTRA_SETTINGS[stage].__name__
            other = " of another definition" if type(settings).__name__ == wanted else ""
            return f"{EXTRA}.{stage}: expected its settings, a {wanted}, got {settings!r}{other}"
    return ""


def unknown_stage(stage: str) -> str:
    """Return a message about an added stage that does not exist."""
    return (
        f"no stage {stage!r} was added{did_you_mean(stage, EXTRA_SETTINGS)}; added are: "
        f"{', '.join(EXTRA_SETTINGS) or 'none'} (the module that adds it belongs in study.plugins)"
    )
