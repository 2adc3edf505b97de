"""From a network and a recipe to a smaller, faster network. Read this file first.

    train (distil, sparsify) ▶ prune ▶ factorize ▶ recover ▶ factorize late, fold

Each stage takes a state and gives a new one. Zeroed units are removed and batch norms are folded
exactly: both compare the outputs of the network before and after. The network stays in float32; a
target brings it to the recipe's precision.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from autocompress import stages
from autocompress.errors import ConfigurationError, failing_as
from autocompress.graph import check_equal
from autocompress.graph.tracing import check_copyable
from autocompress.recipe import EXTRA_SETTINGS, Recipe
from autocompress.registry import did_you_mean, is_again
from autocompress.stages import Change, Stage, State, Work
from autocompress.techniques.report import Report
from autocompress.training.fitting import seed_everything

__all__ = [
    "STAGES",
    "Change",
    "Stage",
    "State",
    "Work",
    "add_stage",
    "compress",
    "remove_stage",
    "stages_after",
    "technique_stage",
]
EXACT = 1e-4  # standard deviations that the outputs of an exact stage may differ by, in float32

STAGES: list[Stage] = [
    Stage(
        name="train",
        function=stages.train,
        wanted=lambda recipe: recipe.sparsification is not None or recipe.training.epochs > 0,
        trains=True,
    ),
    Stage(name="prune", function=stages.prune, wanted=lambda r: r.pruning is not None, exact=True),
    Stage(
        name="factorize", function=stages.factorize, wanted=lambda r: r.factorization is not None
    ),
    Stage(name="recover", function=stages.recover, wanted=lambda recipe: True, trains=True),
    Stage(
        name="factorize_late",
        function=stages.factorize_late,
        wanted=lambda recipe: recipe.late_factorization is not None,
    ),
    Stage(name="fold", function=stages.fold, wanted=lambda recipe: recipe.fold, exact=True),
]
"""What happens to a network, in this order; ``add_stage`` adds more."""


def compress(
    start: nn.Module | State,
    recipe: Recipe,
    work: Work,
    *,
    on_stage: Callable[[State], Any] = lambda state: None,
) -> State:
    """Apply a recipe to a network, or go on with it from a state.

    Args:
        start: a trained network, or a state: the stages up to ``start.stage`` are behind it. It is
            not changed.
        recipe: which stages run, and how.
        work: what the stages share.
        on_stage: receives each new state.

    Returns:
        the last state, in eval mode. The same start, recipe, seed, data and number of threads give
        the same on a CPU.

    Raises:
        TrialError: a stage failed; it names the stage and the reason.
    """
    state = start if isinstance(start, State) else State(start)
    with failing_as(STAGES[0].name):
        check_copyable(state.model)
        model = copy.deepcopy(state.model).to(work.data.device)
        if recipe.distillation is not None and not work.dry:
            teacher = state.model if work.teacher is None else work.teacher
            work = replace(work, teacher=copy.deepcopy(teacher).to(work.data.device))
    state = replace(state, model=model)
    for stage in stages_after(state.stage):
        if state.stage == "train":
            seed_everything(work.seed + 1)  # the same for a state just trained and for one kept
        if stage.wanted(recipe):
            state = stage(state, recipe, work)
            on_stage(state)
        state = replace(state, stage=stage.name)
    state.model.eval()
    return state


def stages_after(name: str | None) -> list[Stage]:
    """Return the stages that follow the one of this name; all for ``None``.

    Raises:
        ConfigurationError: there is no such stage.
    """
    if name is None:
        return [*STAGES]
    names = [stage.name for stage in STAGES]
    if name not in names:
        raise ConfigurationError(
            f"unknown stage {name!r}{did_you_mean(name, names)}; allowed: {', '.join(names)}"
        )
    return STAGES[names.index(name) + 1 :]


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

    Example:
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
    name = function.__name__

    def apply(state: State, recipe: Recipe, work: Work) -> Change:
        model, report = function(state.model, recipe.extra[name], example=work.data.example)
        if exact:
            check_equal(state.model, model, work.data.example, stage=name, tolerance=EXACT)
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

    A stage whose settings are defined anew, as in a notebook's cell that runs again, replaces
    itself.

    Every process that makes or loads such a recipe has to do so: name the module in the study's
    ``plugins``.

    Args:
        stage: such as ``technique_stage`` makes.
        after: name of the stage that it follows.

    Raises:
        ConfigurationError: the name is taken, or there is no stage to follow.
    """
    same = next((known for known in STAGES if known.name == stage.name), None)
    if same is not None and same.settings and is_again(same.settings, stage.settings):
        remove_stage(same.name)
        same = None
    if same is not None:
        raise ConfigurationError(f"there already is a stage {stage.name!r}: choose another name")
    place = len(STAGES) - len(stages_after(after))
    if stage.settings is not None:
        EXTRA_SETTINGS.register(stage.settings, stage.name)
    STAGES.insert(place, stage)


def remove_stage(name: str) -> None:
    """Remove a stage that was added, as tests do.

    Raises:
        ConfigurationError: there is no such stage, or it is one of the pipeline's own.
    """
    stage = next((known for known in STAGES if known.name == name), None)
    if stage is None or stage.settings is None:
        raise ConfigurationError(f"no stage {name!r} was added")
    STAGES.remove(stage)
    EXTRA_SETTINGS.unregister(name)
