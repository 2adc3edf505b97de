"""The models of a run: written once, whole, and checked when they are loaded."""

import json
import shutil

import pytest
import torch
from torch import nn

from autocompress.errors import RunError
from autocompress.events import ignore
from autocompress.execution.inline import InlineExecutor
from autocompress.graph import Plan
from autocompress.pipeline import State, compress
from autocompress.recipe import Recipe
from autocompress.runs import Run, layout
from autocompress.runs.journal import Journal
from autocompress.runs.store import (
    intact,
    load_state,
    load_tensors,
    load_trainable,
    own_tensors,
    save_trial,
)
from autocompress.space.space import Choices, Constant, Space
from autocompress.study.budget import Budget
from autocompress.study.loop import SearchLoop
from autocompress.study.proposer import Proposer
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

RECIPE = Recipe(
    sparsification=Sparsification(sparsity=0.5),
    pruning=Pruning(),
    training=Training(epochs=1, recovery_epochs=1, learning_rate=1e-2),
)


@pytest.fixture(scope="module")
def stored(begun, tmp_path_factory):
    """A trial on disk: its folder, digest, and the states that it was made of."""
    run, states = tmp_path_factory.mktemp("run"), []
    final = compress(begun.start, RECIPE, begun.work(), on_stage=states.append)
    trainable = next(state for state in states if state.stage == "recover")
    more = {layout.LAYERS: [], "note.txt": b"mine"}
    sha256 = save_trial(run, "00004", RECIPE.to_dict(), final, trainable, more)
    return layout.trial_folder(run, 4), sha256, final, trainable


@pytest.fixture
def structure(begun):
    return begun.problem.model.structure()


def same(one, other):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(t.equal(second[n]) for n, t in first.items())


def test_the_compressed_network_comes_back(stored, structure):
    folder, sha256, final, _ = stored
    state = load_state(intact(folder, sha256, "trial 4"), structure)
    assert state.model is structure
    assert same(state.model, final.model)
    assert not state.model.training
    assert (state.plan, state.curve, state.stages) == (final.plan, final.curve, final.stages)
    assert json.loads((folder / layout.RECIPE).read_text()) == json.loads(
        json.dumps(RECIPE.to_dict())
    )
    assert (folder / "note.txt").read_bytes() == b"mine"


def test_the_network_before_folding_comes_back(stored, structure):
    folder, _, final, trainable = stored
    state = load_trainable(folder, structure)
    assert same(state.model, trainable.model)
    assert state.plan == trainable.plan != final.plan
    assert state.stage is None  # all stages of another recipe are before it
    assert any(isinstance(module, nn.BatchNorm2d) for module in state.model.modules())


def test_without_a_stage_after_training_one_file_serves_both(begun, structure, tmp_path):
    recipe = Recipe(training=Training(epochs=0, recovery_epochs=0), fold=False)
    final = compress(begun.start, recipe, begun.work())
    save_trial(tmp_path, "00000", recipe.to_dict(), final, final, {})
    folder = layout.trial_folder(tmp_path, 0)
    assert not (folder / layout.TRAINABLE).exists()
    state = load_trainable(folder, structure)
    assert same(state.model, final.model)
    (folder / layout.STAGES).unlink()  # as release 0.1 wrote it
    with pytest.raises(RunError, match="holds no trainable weights: it is of an older release"):
        load_trainable(folder, begun.problem.model.structure())
    assert load_state(folder, begun.problem.model.structure()).stages == ()


def test_a_folder_is_whole_or_not_there(begun, tmp_path):
    state = begun.start
    with pytest.raises(TypeError):
        save_trial(tmp_path, "00000", {}, state, state, {"broken.json": object()})
    assert not any((tmp_path / layout.TRIALS).glob("*"))


@pytest.mark.parametrize("name", [layout.WEIGHTS, layout.PLAN, layout.CURVE])
def test_a_folder_that_was_changed_is_refused(stored, tmp_path, name):
    folder = shutil.copytree(stored[0], tmp_path / "00004")
    assert intact(folder, stored[1], "trial 4") == folder
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(RunError, match=r"damaged: a file was changed.* since trial 4 ended"):
        intact(folder, stored[1], "trial 4")
    assert intact(folder, None, "trial 4") == folder  # nobody noted what it was


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="trial 4 has no model: only complete trials have one"):
        intact(None, None, "trial 4")
    with pytest.raises(RunError, match="missing; it held the model of trial 4"):
        intact(tmp_path / "gone", None, "trial 4")


def test_weights_of_another_model_are_refused(stored, tmp_path):
    with pytest.raises(RunError, match="does not belong to this model"):
        load_tensors(nn.Sequential(nn.Linear(2, 2)), stored[0] / layout.WEIGHTS)
    path = tmp_path / layout.WEIGHTS
    path.write_bytes((stored[0] / layout.WEIGHTS).read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be loaded"):
        load_tensors(nn.Linear(2, 2), path)
    with pytest.raises(RunError, match="cannot be loaded"):
        load_tensors(nn.Linear(2, 2), tmp_path / "missing")


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight

    torch.manual_seed(0)
    model = Tied()
    assert set(own_tensors(model)) == {"first.weight", "first.bias", "second.bias"}
    state = State(model, Plan())
    save_trial(tmp_path, "00000", {}, state, state, {})
    again = Tied()
    load_tensors(again, layout.trial_folder(tmp_path, 0) / layout.WEIGHTS)
    assert same(again, model)
    assert again.second.weight is again.first.weight


class StartsFromTheFirst(Space):
    """A space of one's own, whose denser recipes go on from trial 0."""

    def recipe(self, params, analysis=None):
        recipe = super().recipe(params, analysis)
        return recipe if params["sparsity"] == 0.25 else recipe.with_values({"start": 0})


def test_a_study_may_start_trials_from_earlier_ones(context):
    space = StartsFromTheFirst(
        {"sparsity": Choices((0.25, 0.5)), "fold": Constant(value=True)},
        Training(epochs=0, recovery_epochs=0),
    )
    proposer = Proposer(
        space,
        context.objectives,
        context.limits,
        context.baseline_metrics,
        score="accuracy",
        sampler="random",
        seed=0,
    )
    for sparsity in (0.25, 0.5):
        proposer.enqueue({"sparsity": sparsity})
    executor = InlineExecutor()
    executor.start(context.folder, context)
    journal = Journal(context.folder / layout.JOURNAL)
    SearchLoop(context, proposer, executor, journal, Budget(2, None, 1, 0), ignore).search()
    first, second = Run.open(context.folder).trials()
    assert (first.start, second.start) == (None, 0)
    assert [trial.state for trial in (first, second)] == ["complete"] * 2
    start = load_trainable(first.folder, context.problem.model.structure())
    alone = compress(start, Recipe.from_dict(second.recipe), context.work())
    found = load_state(second.folder, context.problem.model.structure())
    assert found.plan == alone.plan
    assert same(found.model, alone.model)
    steps = load_trainable(first.folder, context.problem.model.structure()).plan.steps
    assert found.plan.steps[: len(steps)] == steps  # the plan leads from the baseline
