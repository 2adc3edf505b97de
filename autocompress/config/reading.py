"""From nested tables to a study; everything wrong with them at once, in the author's own words."""

from collections.abc import Iterator, Mapping
from typing import Any

from autocompress.config.schema import PYTHON, SearchSection, StudyConfig
from autocompress.errors import ConfigurationError
from autocompress.metrics import Metric
from autocompress.metrics.limits import Limits
from autocompress.metrics.metric import KNOWN
from autocompress.reading import Misfit, Path, read, unknown_key
from autocompress.registry import did_you_mean
from autocompress.settings import describe
from autocompress.space.dimensions import flat, problems_of, varies, written
from autocompress.space.parameters import ALIASES, NAMES, parameter
from autocompress.tasks import TASKS
from autocompress.user_code import import_plugins

RENAMED: Mapping[Path, Path] = {
    ("latency",): ("target",),
    ("study", "draft"): ("study", "estimate"),
    ("study", "harvest"): ("study", "derive"),
}
"""Keys of release 0.1 that have another name now; both are read."""
_OTHERS = ("exclude", "allocation")  # keys of [search] that are no parameters
_NEEDS = {"int8": "target.runtime = 'onnxruntime'", "fp16": "target.device = 'cuda'"}
_NEEDED = ("study", "data", "model", "search")
_PARAMS = (
    "expected a table of parameters, such as sparsity = { low = 0.0, high = 0.9 }; "
    "`autocompress init` writes them all"
)


def read_study(data: Mapping[str, Any]) -> tuple[StudyConfig | None, list[Misfit]]:
    """Build a study from the tables of its file.

    Args:
        data: section to keys to values, as ``tomllib`` returns them.

    Returns:
        the study, or ``None`` where there are problems; and the problems, each with its path as
        the file has it.
    """
    current, problems = _renamed(data)
    problems += _import_plugins(current)
    old_names = {new: old for old, new in RENAMED.items() if _has(data, old)}
    sections = describe(StudyConfig)
    values: dict[str, Any] = {}
    for name, entry in sections.items():
        if name not in current:
            if name in _NEEDED:
                problems.append(((name,), _missing(name)))
            continue
        if name == "limits":
            values[name], found = _limits(current)
        elif name == "search":
            values[name], found = _search(current[name])
        else:
            assert entry.nested is not None
            values[name], found = read(entry.nested, current[name], elsewhere=_home_of)
        problems += [((name, *path), text) for path, text in found]
    problems += [
        ((name,), unknown_key(name, [*sections], _home_of))
        for name in current
        if name not in sections
    ]
    if not problems:
        config = StudyConfig(**values)
        problems = [*_contradictions(config), *_unknown_objectives(config, current)]
        if not problems:
            return config, []
    return None, [(_as_written(path, old_names), text) for path, text in problems]


def _renamed(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
    """Return the tables with today's names, and what is given under two names."""
    current = {k: dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
    problems: list[Misfit] = []
    for old, new in RENAMED.items():
        if not _has(current, old):
            continue
        if _has(current, new):
            problems.append((old, f"given twice: {'.'.join(new)} is its name now"))
        table, target = current, current
        for part in old[:-1]:
            table = table[part]
        for part in new[:-1]:
            target = target[part]
        target.setdefault(new[-1], table.pop(old[-1]))
    return current, problems


def _has(data: Mapping[str, Any], path: Path) -> bool:
    table: Any = data
    for part in path:
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return True


def _as_written(path: Path, old_names: Mapping[Path, Path]) -> Path:
    for new, old in old_names.items():
        if path[: len(new)] == new:
            return (*old, *path[len(new) :])
    return path


def _search(given: Any) -> tuple[SearchSection | None, list[Misfit]]:
    if not isinstance(given, Mapping):
        return None, [((), _PARAMS + f", got {given!r}")]
    others = {name: value for name, value in given.items() if name in _OTHERS}
    params = flat({name: value for name, value in given.items() if name not in others})
    problems = problems_of(params, *_OTHERS)
    if not problems and not any(map(varies, params.values())):
        text = "the search space is empty: give at least one parameter a list or a range of "
        problems.append(((), text + "values, such as sparsity = { low = 0.0, high = 0.9 }"))
    if not problems:
        params = {name: written(value) for name, value in params.items()} | _defaults(params)
    section, found = read(SearchSection, {**others, "params": params})
    problems += found
    return (None if problems else section), problems


def _import_plugins(data: Mapping[str, Any]) -> list[Misfit]:
    """Import what registers the names that the file uses, and return what is wrong with it."""
    study = data.get("study")
    names = study.get("plugins", []) if isinstance(study, Mapping) else []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []  # reading the section says so
    try:
        import_plugins(names)
    except ConfigurationError as error:
        return [(("study", "plugins"), problem) for problem in error.problems]
    return []


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of every parameter with a short name that is not given."""
    given = {ALIASES.get(name, name) for name in params}
    found = {path: parameter(name) for path, name in NAMES.items() if path not in given}
    return {
        known.name: known.default
        for known in found.values()
        if known is not None and known.default is not None
    }


def _limits(data: Mapping[str, Any]) -> tuple[Mapping[str, float] | None, list[Misfit]]:
    """Read ``[limits]``; names of metrics are checked as far as the file names the metrics."""
    given = data["limits"]
    if not isinstance(given, Mapping):
        return None, [((), f"expected a table of numbers, got {given!r}")]
    problems: list[Misfit] = [
        ((name,), f"expected a number, got {value!r}")
        for name, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    metrics = _known_metrics(data)
    if metrics is not None and not problems:
        try:
            Limits.from_mapping(given, metrics)
        except ConfigurationError as error:
            lines = [line.partition(": ") for line in error.problems]
            problems = [((head.partition(".")[2],), text) for head, _, text in lines]
    return dict(given), problems


def _known_metrics(data: Mapping[str, Any]) -> list[Metric] | None:
    """Return all metrics of a study; ``None`` where some are the user's own."""
    task, study = data.get("task", {}), data.get("study", {})
    if not isinstance(task, Mapping) or not isinstance(study, Mapping):
        return None
    name, objectives = task.get("name", "classification"), study.get("objectives", [])
    own = study.get("plugins") or not isinstance(objectives, list)
    if own or name not in TASKS or any(":" in str(objective) for objective in objectives):
        return None
    try:
        made = TASKS[name](**task.get("kwargs", {}))
    except (TypeError, ConfigurationError):
        return None  # building the task says what is wrong
    return [*(score.metric for score in made.scores), *KNOWN.values()]


def _unknown_objectives(config: StudyConfig, data: Mapping[str, Any]) -> Iterator[Misfit]:
    metrics = _known_metrics(data)
    if metrics is None:
        return
    names = [metric.name for metric in metrics]
    for name in config.study.objectives or ():
        if name not in names:
            yield (
                ("study", "objectives"),
                f"unknown metric {name!r}{did_you_mean(name, names)}; allowed: "
                f"{', '.join(names)}, or 'package.module:name' of your own",
            )


def _missing(section: str) -> str:
    if section == "search":
        return f"missing; {_PARAMS}"
    entry = describe(StudyConfig)[section]
    assert entry.nested is not None
    keys = [known.key for known in describe(entry.nested).values()]
    return f"missing; expected a table with {', '.join(keys)}"


def _home_of(name: str) -> str:
    """Return the section that has a key of this name, as ``section.key``; empty if none has."""
    for section, entry in describe(StudyConfig).items():
        if entry.nested is not None and section not in ("search", "teacher"):
            keys = [known.key for known in describe(entry.nested).values()]
            if name in keys:
                return f"{section}.{name}"
    return ""


def _contradictions(config: StudyConfig) -> Iterator[Misfit]:
    """Yield what cannot be together: precisions that the target does not run."""
    target = None if config.target.runtime.startswith(PYTHON) else config.target.local
    if target is None:
        return
    wanted = config.search.params.get("precision", [])
    names = [name for name in (wanted if isinstance(wanted, list) else [wanted]) if name != "fp32"]
    try:
        known = target.precisions if names else ()
    except ConfigurationError:
        return  # the device is not here: the target's own check says so where it is needed
    for name in names:
        if name not in known:
            yield (
                ("search", "precision"),
                f"{name!r} needs {_NEEDS[name]}; {config.target.runtime!r} with "
                f"{config.target.device!r} runs {', '.join(known)}",
            )
