from types import SimpleNamespace

import optuna
import pytest

from autocompress.errors import ConfigurationError
from autocompress.recipe import Recipe
from autocompress.space.allocation import ALLOCATIONS
from autocompress.space.initial import INITIAL, initial_params
from autocompress.space.parameters import ALIASES, parameter
from autocompress.space.space import Choices, Constant, Range, Space
from autocompress.training.fitting import Training

DIMENSIONS = {
    "sparsity": Range(0.0, 0.9, step=0.1),
    "granularity": Choices(("filter", "weight")),
    "linear_sparsity": Range(0.0, 0.95),
    "scope": Choices(("local", "global")),
    "distillation": Choices(("none", "soft_target")),
    "temperature": Range(1.0, 10.0),
    "rank": Range(0.1, 1.0),
    "fold": Choices((True, False)),
    "precision": Choices(("fp32", "int8")),
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "epochs": Range(1, 5),
}


def ask(space, fixed, **options):
    study = optuna.create_study(directions=["maximize"], **options)
    study.enqueue_trial(fixed)
    trial = study.ask()
    return trial, space.sample(trial)


def test_sampled_parameters_make_the_recipe():
    fixed = {
        "sparsity": 0.4,
        "granularity": "filter",
        "linear_sparsity": 0.5,
        "scope": "global",
        "distillation": "soft_target",
        "temperature": 3.0,
        "rank": 0.5,
        "fold": False,
        "precision": "int8",
        "learning_rate": 1e-3,
        "epochs": 4,
    }
    space = Space(DIMENSIONS, Training(recovery_epochs=7), exclude=("head*",))
    _, params = ask(space, fixed)
    recipe = space.recipe(params)
    assert recipe.sparsification.sparsity == pytest.approx(0.4)
    assert recipe.sparsification.scope == "global"
    assert recipe.sparsification.linear_sparsity == 0.5
    assert recipe.sparsification.exclude == ("head*",)
    assert recipe.distillation.temperature == 3.0
    assert recipe.factorization.rank == 0.5
    assert not recipe.fold
    assert recipe.precision == "int8"
    assert (recipe.training.epochs, recipe.training.recovery_epochs) == (4, 7)


def test_parameters_without_effect_are_not_sampled():
    fixed = {"sparsity": 0.0, "linear_sparsity": 0.0, "distillation": "none", "rank": 1.0}
    trial, params = ask(Space(DIMENSIONS, Training()), fixed)
    assert not {"granularity", "scope", "temperature"} & set(trial.params)
    recipe = Space(DIMENSIONS, Training()).recipe(params)
    assert recipe.sparsification is recipe.distillation is recipe.factorization is None


def test_energy_decides_instead_of_rank():
    dimensions = {"energy": Choices((0.9, 1.0)), "rank": Choices((0.25, 0.5))}
    space = Space(dimensions, Training())
    trial, params = ask(space, {"energy": 0.9})
    assert "rank" not in trial.params
    factorization = space.recipe(params).factorization
    assert (factorization.energy, factorization.rank) == (0.9, None)
    factorization = space.recipe({**params, "energy": 1.0, "rank": 0.25}).factorization
    assert (factorization.energy, factorization.rank) == (None, 0.25)


def test_rewinding_after_the_end_of_the_schedule_is_refused():
    space = Space({"sparsity": Constant(0.5), "rewind": Constant(0.8)}, Training())
    _, params = ask(space, {})
    with pytest.raises(ConfigurationError, match="rewind"):
        space.recipe(params)
    assert space.recipe({**params, "rewind": 0.5}).sparsification.rewind == 0.5
    assert space.recipe({**params, "rewind": 1.0}).sparsification.rewind is None


def test_a_flat_space_samples_every_parameter():
    fixed = {"sparsity": 0.0, "linear_sparsity": 0.0, "distillation": "none"}
    trial, _ = ask(Space(DIMENSIONS, Training(), conditional=False), fixed)
    assert set(trial.params) == set(DIMENSIONS)


def test_sparsity_can_differ_by_third():
    dimensions = {"sparsity_early": Constant(0.1), "sparsity_late": Constant(0.7)}
    space = Space(dimensions, Training())
    _, params = ask(space, {})
    assert space.recipe(params).sparsification.sparsity == (0.1, 0.0, 0.7)


def test_initial_recipes_are_moved_into_the_space():
    enqueued = initial_params(Space(DIMENSIONS, Training()))
    assert [name for name, _ in enqueued] == list(INITIAL)
    for _, params in enqueued:
        assert set(params) == set(DIMENSIONS)
        assert params["epochs"] == 5
        _, sampled = ask(Space(DIMENSIONS, Training()), params)
        assert all(sampled[name] == value for name, value in params.items() if name in sampled)


def test_initial_recipes_that_need_a_missing_name_are_left_out():
    dimensions = {**DIMENSIONS, "scope": Choices(("local",))}
    names = [name for name, _ in initial_params(Space(dimensions, Training()))]
    assert "global_taylor" not in names
    assert "article" in names


@pytest.mark.parametrize("precision", [Constant("fp32"), Choices(("fp32", "fp16"))])
def test_without_int8_there_is_no_initial_recipe_for_it(precision):
    space = Space({**DIMENSIONS, "precision": precision}, Training())
    names = [name for name, _ in initial_params(space)]
    assert names == [name for name in INITIAL if not name.endswith("quantized")]


def test_every_short_name_reaches_the_recipe():
    """A parameter that no recipe depends on would be searched in vain."""
    space = Space({}, Training())
    known = {name: parameter(name) for name in ALIASES}
    base = {
        **{name: found.default for name, found in known.items()},
        "sparsity": 0.5,
        "linear_sparsity": 0.5,
        "distillation": "soft_target",
        "rank": 0.5,
        "epochs": 2,
        "recovery_epochs": 1,
        "learning_rate": 1e-3,
    }
    for name, found in known.items():
        if found.choices:
            other = next(c for c in found.choices if c != base[name])
        elif found.kind == "boolean":
            other = not base[name]
        else:
            other = 0.3 if found.kind == "float" else 5
        if name == "temperature":
            other = 2.0
        assert space.recipe(base) != space.recipe({**base, name: other}), name


def test_any_setting_can_be_searched_by_its_path():
    space = Space({"sparsification.sparsity": 0.5, "sparsification.start": (0.0, 0.5)}, Training())
    trial, params = ask(space, {"sparsification.start": 0.25})
    assert trial.params == {"sparsification.start": 0.25}
    assert space.recipe(params).sparsification.start == 0.25
    decay = Space({"sparsity": [0.1, 0.2], "training.weight_decay": [0.1]}, Training())
    _, params = ask(decay, {"sparsity": 0.2})
    assert decay.recipe(params).training.weight_decay == 0.1


def test_a_wrong_space_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Space({"sparsification.strat": 0.1, "criterion": ["tailor"], "rank": 2.0}, Training())
    assert [line.partition(":")[0] for line in caught.value.problems] == [
        "sparsification.strat",
        "criterion",
        "rank",
    ]


@pytest.fixture
def by_size():
    @ALLOCATIONS.register
    def by_size(params, analysis):
        return {g.name: params["sparsity"] * g.size / 10 for g in analysis.units.groups}

    yield by_size
    ALLOCATIONS.unregister("by_size")


def test_an_allocation_spreads_the_sparsity(by_size):
    analysis = SimpleNamespace(
        units=SimpleNamespace(
            groups=[SimpleNamespace(name="a", size=5), SimpleNamespace(name="b", size=10)]
        )
    )
    space = Space({"sparsity": (0.0, 0.8)}, Training(), allocation="by_size")
    _, params = ask(space, {"sparsity": 0.4})
    recipe = space.recipe(params, analysis)
    assert recipe.sparsification.sparsity == {"a": pytest.approx(0.2), "b": pytest.approx(0.4)}
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    off = space.recipe({**params, "sparsity": 0.0}, analysis)
    assert off.sparsification is None
    with pytest.raises(ConfigurationError, match="needs the analysis"):
        space.recipe(params)


def test_an_allocation_that_gives_nonsense_is_told(by_size):
    analysis = SimpleNamespace(units=SimpleNamespace(groups=[SimpleNamespace(name="a", size=50)]))
    space = Space({"sparsity": (0.0, 0.8)}, Training(), allocation="by_size")
    _, params = ask(space, {"sparsity": 0.4})
    with pytest.raises(ConfigurationError, match=r"'by_size': a: expected a number in \[0, 1\]"):
        space.recipe(params, analysis)
