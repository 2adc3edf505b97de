"""A hook of MkDocs: writes the parts of pages that come from the code, at each build.

A page asks for a part by a line ``<!-- generated: NAME -->``, with a name of ``PARTS``; for the
reference of a topic of the API by ``<!-- api: TOPIC -->``, for that of a module by
``<!-- module: NAME -->``.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import typer

import autocompress
from autocompress.cli.app import app
from autocompress.config.schema import (
    DataSection,
    ModelSection,
    StudySection,
    TargetSettings,
    TaskSection,
)
from autocompress.models.networks import NETWORKS
from autocompress.samplers import SAMPLERS
from autocompress.settings import MISSING, describe
from autocompress.space.allocation import ALLOCATIONS
from autocompress.space.initial import DEFAULT_SPACE, INITIAL
from autocompress.space.parameters import NAMES, Parameter, parameter, searchable, stage_of
from autocompress.targets import TARGETS
from autocompress.tasks import TASKS
from autocompress.techniques.criteria import CRITERIA
from autocompress.techniques.distillation_losses import DISTILLATION_LOSSES
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.schedules import SCHEDULES
from autocompress.training.fitting import Training

MARK = re.compile(r"<!-- (generated|api|module): ([\w-]+) -->")
MODULES = ("figures", "testing")
CALLED_BY_FASTAI = ("Sparsify", "KnowledgeDistillation")  # their methods are not for users
TOPICS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "search": {
        "From objects": ("search", "Space"),
        "From a study file": ("load_study", "StudyConfig", "run_study"),
        "While it runs, and after": ("progress_printer", "resume_run", "run_controls"),
    },
    "runs": {"": ("Run", "TrialResult", "Estimate")},
    "metrics": {"": ("Metric", "metric", "Candidate")},
    "tasks": {
        "Tasks": ("Task", "classification", "segmentation", "regression"),
        "Scores": ("Score", "Mean", "Share", "from_torchmetrics"),
    },
    "data": {"": ("Data", "as_data", "load_data")},
    "targets": {"": ("Target", "local_target", "Effort", "Session", "Artifact", "Calls")},
    "execution": {
        "Executors": ("Executor", "InlineExecutor", "LocalPool"),
        "Jobs": ("Job", "Done", "run_job"),
        "Trials": ("Context", "run_trial", "TrialCallback"),
    },
    "pipeline": {
        "Recipes": ("Recipe", "Training", "setting", "ALLOCATIONS"),
        "The pipeline": ("compress", "STAGES", "State", "Work"),
        "Stages of your own": (
            *("Stage", "Change", "technique_stage"),
            *("add_stage", "remove_stage"),
        ),
    },
    "techniques": {
        "Analysis": ("analyze", "Analysis", "find_units"),
        "Sparsification": (
            *("sparsify", "Sparsification", "Sparsifier", "hold_zeros"),
            *("CRITERIA", "SCHEDULES"),
        ),
        "Pruning": ("prune", "Pruning"),
        "Factorization": ("factorize", "Factorization"),
        "Folding": ("fold_batch_norms", "Folding"),
        "Distillation": ("Distillation", "Distiller", "DISTILLATION_LOSSES"),
        "Callbacks for fastai": ("Sparsify", "KnowledgeDistillation"),
        "Reports and plans": ("Report", "Plan", "rebuild"),
    },
    "export": {"": ("export", "export_trial", "load")},
    "modules": {"": MODULES},
}
"""Names of ``autocompress.__all__`` by page of the reference and subject; each stands once."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts into a page, before it is rendered."""
    return MARK.sub(lambda mark: _part(mark[1], mark[2]), markdown)


def _part(kind: str, name: str) -> str:
    kinds: Mapping[str, Callable[[str], Iterator[str]]] = {
        "generated": lambda part: PARTS[part](),
        "api": _reference,
        "module": _members,
    }
    return "\n".join(kinds[kind](name))


def commands() -> Mapping[str, Any]:
    """Return the commands of the command line by name."""
    found: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return found


def options_of(command: Any) -> list[Any]:
    """Return the options of a command, without its arguments."""
    return [one for one in command.params if one.opts[0].startswith("-")]


def _commands() -> Iterator[str]:
    for name, command in commands().items():
        text, _, example = command.help.partition("Example: ")
        options = options_of(command)
        given = [one.metavar or one.name for one in command.params if one not in options]
        usage = " ".join(["autocompress", name, *given, *(["[OPTIONS]"] if options else [])])
        yield f"\n## `{name}`\n\n{text.strip()}\n\n    {usage}\n"
        rows = [(f"`{one.metavar or one.name}`", one.help, "") for one in command.params]
        rows = rows[: len(given)] + [_option_row(one) for one in options]
        yield from _table(("argument or option", "what it does", "default"), rows)
        yield f"\nExample:\n\n    {example.strip()}\n"


def _option_row(option: Any) -> tuple[str, str, str]:
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = option.default
    bounds = [f"at least {option.min}"] if option.min is not None else []
    bounds += [f"at most {option.max}"] if option.max is not None else []
    told = f"{option.help} ({', '.join(bounds).capitalize()}.)" if bounds else option.help
    shown = "" if default in (None, False) else f"`{default}`"
    return names + (f" `{value.strip()}`" if value else ""), told, shown


def _parameters() -> Iterator[str]:
    by_stage: dict[str, list[Parameter]] = {}
    for path in searchable():
        found = parameter(path)
        assert found is not None
        by_stage.setdefault(stage_of(path)[0], []).append(found)
    for stage, found in by_stage.items():
        yield f"\n### `{stage}`\n"
        yield from _table(
            ("path, and short name", "what it is", "allowed", "default in a search"),
            (
                (
                    f"`{one.path}`" + (f"<br>`{NAMES[one.path]}`" if one.path in NAMES else ""),
                    one.help,
                    _allowed(one),
                    _default(one),
                )
                for one in found
            ),
        )


def _allowed(found: Parameter) -> str:
    if len(found.choices) > 6:
        return f"one of {len(found.choices)} names, [listed below](#names)"
    return found.expected()


def _default(found: Parameter) -> str:
    if found.default is None:
        return "as in `[training]`" if found.path.startswith("training.") else ""
    off = ", which is off" if found.default == found.off else ""
    return f"`{_toml(found.default)}`{off}"


def _names() -> Iterator[str]:
    for title, registry in (
        ("Criteria", CRITERIA),
        ("Schedules", SCHEDULES),
        ("Distillation losses", DISTILLATION_LOSSES),
        ("Granularities of convolutions", CONVOLUTION_GRANULARITIES),
        ("Granularities of linear layers", LINEAR_GRANULARITIES),
        ("Allocations", ALLOCATIONS),
    ):
        yield f"\n### {title}\n"
        yield from _registry(registry)


def _registry(registry: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    rows = ((f"`{name}`", _first_lines(thing)) for name, thing in registry.items())
    yield from _table(("name", "what it does, and its source"), rows)


def _first_lines(thing: Any) -> str:
    """Return the first line of a docstring, and the one that gives a source."""
    text = inspect.getdoc(thing) or ""
    lines = [text.partition("\n")[0]]
    lines += [line for line in text.splitlines()[1:] if line.startswith("Source: ")]
    return " ".join(lines).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _study_keys() -> Iterator[str]:
    for section, settings in (
        ("study", StudySection),
        ("data", DataSection),
        ("model", ModelSection),
        ("task", TaskSection),
        ("training", Training),
        ("target", TargetSettings),
    ):
        yield f"\n### `[{section}]`\n"
        yield from _table(
            ("key", "what it is", "allowed", "default"),
            (
                (
                    f"`{entry.key}`",
                    entry.rule.help,
                    entry.expected(),
                    "required" if entry.default is MISSING else _shown(entry.default),
                )
                for entry in describe(settings).values()
            ),
        )


def _shown(value: Any) -> str:
    return "" if value is None or value in ({}, ()) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _default_space() -> Iterator[str]:
    yield "```toml\n[search]"
    yield from (f"{name} = {_toml(value)}" for name, value in DEFAULT_SPACE.items())
    yield "```"


def _initial() -> Iterator[str]:
    rows = (
        (f"`{name}`", ", ".join(f"`{key} = {_toml(one)}`" for key, one in wish.items()) or "fold")
        for name, wish in INITIAL.items()
    )
    yield from _table(("recipe", "what it sets"), rows)


def _reference(topic: str) -> Iterator[str]:
    for subject, names in TOPICS[topic].items():
        if subject:
            yield f"\n## {subject}\n"
        for name in names:
            yield _documented(name, level=3 if subject else 2)


def _members(module: str) -> Iterator[str]:
    for name in getattr(autocompress, module).__all__:
        yield _documented(f"{module}.{name}", level=3)


def _documented(name: str, level: int) -> str:
    members = ", members: false" if name in CALLED_BY_FASTAI else ""
    return f"\n::: autocompress.{name}\n    options: {{ heading_level: {level}{members} }}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "commands": _commands,
    "parameters": _parameters,
    "names": _names,
    "study-keys": _study_keys,
    "default-space": _default_space,
    "initial-recipes": _initial,
    "tasks": lambda: _registry(TASKS),
    "targets": lambda: _registry(TARGETS),
    "samplers": lambda: _registry(SAMPLERS),
    "networks": lambda: _registry(NETWORKS),
}
