"""Search parameters: what a study may search is any setting of a recipe, named by its path.

Release 0.1 had short names for some of them; they stay, with the same meaning.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from functools import reduce
from typing import Any, Literal, get_args, get_origin

from autocompress.recipe import EXTRA, EXTRA_SETTINGS, Recipe, unknown_stage
from autocompress.registry import did_you_mean
from autocompress.settings import Described, Rule, describe

Value = float | int | bool | str
Params = Mapping[str, Any]
Kind = Literal["float", "int", "categorical", "boolean"]
COEFFICIENTS = "coefficients"  # free numbers that an allocation reads: coefficients.NAME
NOT_SEARCHED = ("start",)  # chosen by rule

ALIASES: Mapping[str, str] = {
    "sparsity": "sparsification.sparsity",
    "sparsity_early": "sparsification.sparsity.early",
    "sparsity_middle": "sparsification.sparsity.middle",
    "sparsity_late": "sparsification.sparsity.late",
    "granularity": "sparsification.granularity",
    "linear_sparsity": "sparsification.linear_sparsity",
    "linear_granularity": "sparsification.linear_granularity",
    "scope": "sparsification.scope",
    "criterion": "sparsification.criterion",
    "schedule": "sparsification.schedule",
    "schedule_end": "sparsification.end",
    "rewind": "sparsification.rewind",
    "distillation": "distillation.loss",
    "distillation_weight": "distillation.weight",
    "temperature": "distillation.temperature",
    "energy": "factorization.energy",
    "convolution_energy": "factorization.convolution_energy",
    "rank": "factorization.rank",
    "convolution_rank": "factorization.convolution_rank",
    "convolution_kind": "factorization.convolution_kind",
    "prune": "pruning",
    "round_to": "pruning.round_to",
    "fold": "fold",
    "precision": "precision",
    "learning_rate": "training.learning_rate",
    "epochs": "training.epochs",
    "recovery_epochs": "training.recovery_epochs",
}
"""Short names of paths, in the order in which Optuna is asked for them."""
NAMES: Mapping[str, str] = {path: name for name, path in ALIASES.items()}

DEFAULTS: Mapping[str, Any] = {"sparsification.end": 0.7, "pruning": True}
"""Values in a search that does not name a path, where they are not those of the settings."""


@dataclass(frozen=True)
class Parameter:
    """One setting that a study may search.

    Attributes:
        name: as the study calls it, a path or its short name.
        path: into the recipe.
        entry: what its settings class says of it; the type is one that can be searched.
        default: its value where a study does not name it; ``None`` where something else decides
            (the ``[training]`` table, or the sparsity for that of a third).
    """

    name: str
    path: str
    entry: Described
    default: Any

    @property
    def help(self) -> str:
        """What it does, in one line."""
        return self.entry.rule.help

    @property
    def kind(self) -> Kind:
        """What its values are."""
        options = self.entry.options
        for kind, name in ((bool, "boolean"), (float, "float"), (int, "int")):
            if kind in options:
                return name  # type: ignore[return-value]
        return "categorical"

    @property
    def off(self) -> Any:
        """The value that leaves it, or its stage, out; ``None`` where there is none."""
        return self.entry.rule.off

    def misfit(self, value: Any) -> str:
        """Return what is wrong with a value: what was expected and what came; empty if nothing."""
        if self._is_off_name(value):
            return ""
        problem = self.entry.misfit(value)
        if problem and self.choices:
            hint = did_you_mean(str(value), self.choices)
            return f"expected {self.expected()}, got {value!r}{hint}"
        return problem

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed names, if it has names."""
        literal = [get_args(kind) for kind in self.entry.options if get_origin(kind) is Literal]
        names = literal[0] if literal else self.entry.rule.allowed
        return (str(self.off), *names) if names and isinstance(self.off, str) else names

    def expected(self) -> str:
        """Return in words what is allowed."""
        return f"one of {', '.join(self.choices)}" if self.choices else self.entry.expected()

    def _is_off_name(self, value: Any) -> bool:
        return isinstance(self.off, str) and bool(value == self.off)


def parameter(name: str, known: Mapping[str, Described] | None = None) -> Parameter | None:
    """Return the search parameter of a name; ``None`` where there is none.

    Args:
        name: a path such as ``"sparsification.start"``, or a short name such as ``"sparsity"``.
        known: what ``searchable`` returns, where many are looked up.
    """
    path = ALIASES.get(name, name)
    if path.startswith(f"{COEFFICIENTS}.") and path.count(".") == 1:
        rule = Rule(help="read by the allocation")
        return Parameter(name, path, Described(path, float, None, rule), None)
    entry = (searchable() if known is None else known).get(path)
    if entry is None:
        return None
    return Parameter(name, path, entry, _default(path, entry))


def searchable() -> dict[str, Described]:
    """Return all paths that can be searched: numbers, names, and switches of stages."""
    found: dict[str, Described] = {}
    for path, entry in Recipe.paths().items():
        if path in NOT_SEARCHED:
            continue
        if entry.nested is not None:
            if type(None) in entry.options and not _has_switch(entry.nested):
                found[path] = replace(entry, hint=bool, default=False)
            continue
        kinds = [kind for kind in entry.options if kind in (bool, int, float, str)]
        kinds += [kind for kind in entry.options if get_origin(kind) is Literal]
        if kinds:
            found[path] = replace(entry, hint=reduce(lambda a, b: a | b, kinds))
            for part in entry.rule.parts:
                help_ = f"{entry.rule.help}, in the {part} third"
                rule = replace(entry.rule, help=help_, parts=())
                found[f"{path}.{part}"] = Described(part, float, None, rule)
    return found


def path_of(name: str) -> str:
    """Return the path that a short name stands for; a path stands for itself."""
    return ALIASES.get(name, name)


def stage_of(path: str) -> tuple[str, str]:
    """Split a path into its stage and the rest: ``("extra.mine", "bits")``."""
    parts = path.split(".")
    depth = 2 if parts[0] == EXTRA else 1
    return ".".join(parts[:depth]), ".".join(parts[depth:])


def unknown_parameter(name: str, *more: str) -> str:
    """Return a message about a parameter that does not exist.

    Args:
        name: it.
        more: what else may stand in its place.
    """
    stage = stage_of(name)[0].removeprefix(f"{EXTRA}.")
    if name.startswith(f"{EXTRA}.") and stage not in EXTRA_SETTINGS:
        return unknown_stage(stage)
    allowed = [*ALIASES, *more]
    hint = did_you_mean(name, [*allowed, *searchable()])
    return (
        f"unknown parameter {name!r}{hint}; allowed: {', '.join(allowed)}, and any path into the "
        "recipe, such as sparsification.start"
    )


def _has_switch(settings: type) -> bool:
    return any(entry.rule.switch for entry in describe(settings).values())


def _default(path: str, entry: Described) -> Any:
    if path in DEFAULTS:
        return DEFAULTS[path]
    stage, name = stage_of(path)
    is_part = "." in name
    if stage == "training" or is_part or entry.default is MISSING:
        return None
    return entry.rule.off if entry.rule.off is not None else entry.default
