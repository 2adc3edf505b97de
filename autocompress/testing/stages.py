"""What a stage of the pipeline must do."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from autocompress.errors import TrialError
from autocompress.graph import Plan, largest_difference, rebuild
from autocompress.recipe import Recipe
from autocompress.stages import EXACT, Stage, State, Work


def check_stage(
    stage: Stage,
    state: State,
    recipe: Recipe,
    work: Work,
    *,
    build: Callable[[], nn.Module] | None = None,
) -> State:
    """Check that a stage gives a new state, notes all that it does, and keeps what it promises.

    Args:
        stage: the stage.
        state: what it is given.
        recipe: one that wants it.
        work: what stages share.
        build: builds the network to which ``state.plan`` belongs, with any weights.

    Returns:
        the state that the stage led to.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    assert stage.wanted(recipe), f"{stage.name}: the recipe does not want it; give one that does"
    weights = copy.deepcopy(state.model.state_dict())
    modes = [module.training for module in state.model.modules()]
    structure = copy.deepcopy(state.model)
    try:
        found = stage(state, recipe, work)
    except TrialError as error:
        raise AssertionError(f"{stage.name}: it fails: {error.reason}") from error
    _check_unchanged(stage, state.model, weights, modes)
    assert found.stage == stage.name, f"{stage.name}: the new state is after {found.stage!r}"
    before = (state.plan.steps, state.curve, state.stages)
    after = (found.plan.steps, found.curve, found.stages)
    for old, new in zip(before, after, strict=True):
        assert new[: len(old)] == old, f"{stage.name}: what stages before it noted was changed"
    assert stage.trains or found.curve == state.curve, (
        f"{stage.name}: it added epochs to the curve, but does not declare that it trains"
    )
    _check_rebuilt(stage, structure, found, Plan(found.plan.steps[len(state.plan.steps) :]))
    if build is not None:
        _check_rebuilt(stage, build(), found, found.plan)
    if stage.exact:
        difference = largest_difference(structure, found.model, work.data.example)
        assert difference <= EXACT, (
            f"{stage.name}: it declares to be exact, but outputs differ by {difference:.3g} "
            "standard deviations"
        )
    return found


def _check_unchanged(
    stage: Stage, model: nn.Module, weights: dict[str, torch.Tensor], modes: list[bool]
) -> None:
    now = model.state_dict()
    changed = [
        name for name in weights if not torch.equal(weights[name], now.get(name, torch.empty(0)))
    ]
    assert not changed, f"{stage.name}: it changed the model that it was given: {changed}"
    assert modes == [module.training for module in model.modules()], (
        f"{stage.name}: it changed the mode (training or eval) of the model that it was given"
    )


def _check_rebuilt(stage: Stage, fresh: nn.Module, found: State, plan: Plan) -> None:
    rebuild(fresh, plan)
    shapes = {name: tensor.shape for name, tensor in fresh.state_dict().items()}
    wanted = {name: tensor.shape for name, tensor in found.model.state_dict().items()}
    assert shapes == wanted, (
        f"{stage.name}: the plan does not lead to the new model's structure: all surgery must be "
        "in the report's steps"
    )
