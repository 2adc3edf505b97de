"""From a network and a recipe to a smaller, faster network. Read this file first.

    train (distil, sparsify) ▶ prune ▶ factorize ▶ recover ▶ factorize late, fold

Each stage takes a state and gives a new one. Zeroed units are removed and batch norms are folded
exactly: the outputs of the network before and after are compared. The network stays in float32; a
target brings it to the recipe's precision. Stages of your own: ``added_stages.py``.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from autocompress import stages
from autocompress.errors import ConfigurationError, failing_as
from autocompress.graph.tracing import check_copyable
from autocompress.recipe import Recipe
from autocompress.registry import did_you_mean
from autocompress.stages import Change, Stage, State, Work
from autocompress.training.fitting import seed_everything

__all__ = ["STAGES", "Change", "Stage", "State", "Work", "compress", "stages_after"]

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
