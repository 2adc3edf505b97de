"""Stages of a user's own: how they are made, and how they are registered in the pipeline.

``add_stage`` puts a stage into ``STAGES`` of this process. If it has settings, their class becomes
known by the stage's name, so that recipes hold them in ``extra`` and spaces search over them. A
stage that is added again replaces itself, as when a notebook's cell runs again; the pipeline's own
stages stay.
"""

from collections.abc import Callable

from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.pipeline import STAGES, stages_after
from autocompress.recipe import EXTRA_SETTINGS, Recipe
from autocompress.registry import did_you_mean, name_of
from autocompress.stages import Change, Stage, State, Work
from autocompress.techniques.report import Report

_FOLLOWED: dict[str, str] = {}  # by the name of each added stage: the one that it was added after


def technique_stage(
    function: Callable[..., tuple[nn.Module, Report]],
    settings: type,
    *,
    exact: bool = False,
) -> Stage:
    """Make a stage of a technique; a recipe that has its settings in ``extra`` wants it.

    Args:
        function: ``f(model, settings, *, example) -> (model, report)``; its name is the stage's.
        settings: a frozen dataclass.
        exact: whether the outputs stay the same; it is then checked in float64, on the example.

    Raises:
        ConfigurationError: the function has no name, as a ``lambda``.

    Example:
        >>> import copy
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Rounding:
        ...     digits: int = 3
        >>> def round_weights(model, settings, *, example):
        ...     model = copy.deepcopy(model)
        ...     for parameter in model.parameters():
        ...         parameter.data = parameter.data.round(decimals=settings.digits)
        ...     return model, Report(sentences=("all weights are rounded",))
        >>> add_stage(technique_stage(round_weights, Rounding), after="recover")
        >>> recipe = Recipe(extra={"round_weights": Rounding(digits=2)})
        >>> [stage.name for stage in STAGES if stage.wanted(recipe)]
        ['train', 'recover', 'round_weights', 'fold']
        >>> remove_stage("round_weights")
    """
    name = name_of(function, "stage")

    def apply(state: State, recipe: Recipe, work: Work) -> Change:
        model, report = function(state.model, recipe.extra[name], example=work.data.example)
        return Change(model=model, report=report)

    return Stage(
        name=name,
        function=apply,
        wanted=lambda recipe: name in recipe.extra,
        exact=exact,
        settings=settings,
    )


def add_stage(stage: Stage, *, after: str) -> None:
    """Add a stage to the pipeline of this process.

    It replaces what was added under its name before, as a notebook's cell that runs again does;
    never one of the pipeline's own. After the same stage as before it keeps its place.

    Every process that makes or loads such a recipe has to add the stage too: name the module in
    the study's ``plugins``.

    Args:
        stage: such as ``technique_stage`` makes.
        after: name of the stage that it follows.

    Raises:
        ConfigurationError: the name is one of the pipeline's own, or there is no stage to follow.
    """
    names = [known.name for known in STAGES]
    if stage.name in names and stage.name not in _FOLLOWED:
        raise ConfigurationError(f"there already is a stage {stage.name!r}: choose another name")
    stages_after(after)
    if after == stage.name:
        raise ConfigurationError(f"stage {after!r} cannot follow itself")
    place = names.index(stage.name) if _FOLLOWED.get(stage.name) == after else None
    if stage.name in _FOLLOWED:
        remove_stage(stage.name)
    STAGES.insert(len(STAGES) - len(stages_after(after)) if place is None else place, stage)
    _FOLLOWED[stage.name] = after
    if stage.settings is not None:
        EXTRA_SETTINGS.register(stage.settings, stage.name)


def remove_stage(name: str) -> None:
    """Remove a stage that was added.

    Raises:
        ConfigurationError: there is no such stage, or it is one of the pipeline's own.
    """
    if name not in _FOLLOWED:
        raise ConfigurationError(
            f"no stage {name!r} was added{did_you_mean(name, _FOLLOWED)}; added are: "
            f"{', '.join(_FOLLOWED) or 'none'}"
        )
    del _FOLLOWED[name]
    STAGES[:] = [stage for stage in STAGES if stage.name != name]
    if name in EXTRA_SETTINGS:
        EXTRA_SETTINGS.unregister(name)
