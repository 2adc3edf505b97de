from dataclasses import dataclass

import optuna
import pytest

from autocompress.errors import ConfigurationError
from autocompress.recipe import EXTRA_SETTINGS, Recipe
from autocompress.settings import setting
from autocompress.space import Choices, Constant, Range, Space
from autocompress.space.initial import DEFAULT_SPACE, INITIAL, initial_params
from autocompress.space.parameters import ALIASES, parameter, searchable
from autocompress.training.fitting import Training

THIRDS = ("early", "middle", "late")

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


def test_sampled_values_make_the_recipe():
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


def test_sparsity_can_differ_by_stage():
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


BASE = {
    "sparsity": 0.5,
    "linear_sparsity": 0.5,
    "distillation": "soft_target",
    "rank": 0.5,
    "late_factorization.rank": 0.5,
    "sparsification.end": 0.9,
    "training.epochs": 6,
}


@pytest.mark.parametrize("path", searchable())
def test_every_parameter_reaches_the_recipe(path):
    """A parameter that no recipe depends on would be searched in vain."""
    space, known = Space({}), parameter(path)
    recipe = space.recipe(BASE)
    now = recipe.value(path.rsplit(".", 1)[0] if known.entry.name in THIRDS else path)
    if known.choices:
        other = next(c for c in known.choices if c not in (now, known.off))
    elif known.kind == "boolean":
        other = not now
    else:
        other = 0.3 if known.kind == "float" else 5
    if path == "distillation.temperature":
        other = 2.0
    assert space.recipe({**BASE, path: other}) != recipe


@pytest.mark.parametrize("name", ALIASES)
def test_a_short_name_means_its_path(name):
    values = {"boolean": False, "int": 3, "float": 0.5}
    known = parameter(name)
    value = values.get(known.kind, known.choices[-1] if known.choices else None)
    space = Space({name: value})
    assert space.recipe({**BASE, name: value}) == Space({}).recipe({**BASE, ALIASES[name]: value})


def test_a_path_is_asked_by_its_own_name_and_only_where_it_has_an_effect():
    space = Space({"sparsification.start": (0.0, 0.3), "sparsification.sparsity": [0.0, 0.5]})
    trial, params = ask(space, {"sparsification.sparsity": 0.0})
    assert set(trial.params) == {"sparsification.sparsity"}
    assert params["sparsification.start"] == 0.0
    assert space.recipe(params).sparsification is None
    _, params = ask(space, {"sparsification.sparsity": 0.5, "sparsification.start": 0.2})
    settings = space.recipe(params).sparsification
    assert (settings.sparsity, settings.start, settings.end) == (0.5, 0.2, 0.7)


def test_what_has_an_effect_does_not_depend_on_the_order_of_the_space():
    dimensions = {
        "distillation.temperature": Range(1.0, 9.0),
        "distillation.weight": Range(0.1, 0.9),
        "distillation.loss": Choices(("none", "soft_target", "logits")),
        "factorization.rank": Range(0.1, 1.0),
        "factorization.energy": Choices((0.9, 1.0)),
        "late_factorization.convolution_kind": Choices(("channel", "spatial")),
        "late_factorization.convolution_rank": Choices((0.5, 1.0)),
    }
    for names in (list(dimensions), list(reversed(dimensions))):
        space = Space({name: dimensions[name] for name in names})
        for number in range(30):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
            trial = study.ask()
            params = space.sample(trial)
            asked = set(trial.params)
            loss = params["distillation.loss"]
            assert ("distillation.weight" in asked) == (loss != "none")
            assert ("distillation.temperature" in asked) == (loss == "soft_target")
            assert ("factorization.rank" in asked) == (params["factorization.energy"] == 1)
            kind = "late_factorization.convolution_kind" in asked
            assert kind == (params["late_factorization.convolution_rank"] < 1)


def test_values_in_the_short_forms_of_python_and_toml_make_one_space():
    toml = {"sparsification": {"sparsity": {"low": 0.0, "high": 0.9}, "end": 0.5}, "fold": [True]}
    python = {
        "sparsification.sparsity": (0.0, 0.9),
        "sparsification.end": Constant(0.5),
        "fold": Choices((True,)),
    }
    assert Space(toml) == Space(python)
    assert Space(Space(toml).dimensions) == Space(toml)


def test_everything_wrong_with_a_space_is_reported_with_its_path():
    with pytest.raises(ConfigurationError) as caught:
        Space(
            {
                "sparsification.stat": 0.1,
                "training.weight_decay": (0.0, 2.0),
                "sparsification.exclude": ["a"],
                "start": [1, 2],
                "sparsity": [0.1],
                "sparsification.sparsity": 0.5,
            }
        )
    told = caught.value.problems
    assert len(told) == 5
    for line, hint in zip(
        told,
        (
            "sparsification.stat: unknown parameter 'sparsification.stat' (did you mean "
            "'sparsification.start'?)",
            "training.weight_decay.high: expected a number in [0, 1], got 2.0",
            "sparsification.exclude: unknown parameter",
            "start: unknown parameter",
            "sparsification.sparsity: given twice: 'sparsity' is the same setting",
        ),
        strict=True,
    ):
        assert line.startswith(hint)


def test_what_contradicts_itself_in_a_recipe_is_reported_with_its_path():
    with pytest.raises(ConfigurationError, match=r"^sparsification\.start: expected at most end"):
        Space({}).recipe({"sparsity": 0.5, "sparsification.start": 0.8})


@dataclass(frozen=True)
class Quantization:
    bits: int = setting(8, help="of a weight", low=2, high=8)
    symmetric: bool = setting(True, help="whether zero is kept")
    rounding: str = setting("nearest", help="how", names=("nearest", "down"))


@dataclass(frozen=True)
class Smoothing:
    strength: float = setting(0.0, help="how much", low=0, high=1, off=0.0, switch=True)
    window: int = setting(3, help="how wide", low=1)


@pytest.fixture
def added():
    EXTRA_SETTINGS.register(Quantization, "quantize")
    EXTRA_SETTINGS.register(Smoothing, "smooth")
    yield
    EXTRA_SETTINGS.unregister("quantize")
    EXTRA_SETTINGS.unregister("smooth")


def test_an_added_stage_is_on_where_its_settings_are_named(added):
    space = Space({"extra": {"quantize": {"bits": [4, 8]}}})
    _, params = ask(space, {"extra.quantize.bits": 4})
    assert space.recipe(params).extra == {"quantize": Quantization(bits=4)}
    assert Space({}).recipe({}).extra == {}


def test_an_added_stage_can_be_switched(added):
    space = Space({"extra.quantize": [True, False], "extra.quantize.bits": [4, 8]})
    trial, params = ask(space, {"extra.quantize": False})
    assert set(trial.params) == {"extra.quantize"}
    assert space.recipe(params).extra == {}
    assert space.recipe({**params, "extra.quantize": True}).extra == {"quantize": Quantization()}


def test_an_added_stage_with_a_switch_of_its_own_is_off_where_that_is(added):
    space = Space({"extra.smooth.strength": [0.0, 0.5], "extra.smooth.window": [3, 5]})
    trial, params = ask(space, {"extra.smooth.strength": 0.0})
    assert set(trial.params) == {"extra.smooth.strength"}
    assert space.recipe(params).extra == {}
    _, params = ask(space, {"extra.smooth.strength": 0.5, "extra.smooth.window": 5})
    assert space.recipe(params).extra == {"smooth": Smoothing(0.5, 5)}


def test_initial_recipes_have_defaults_for_settings_that_they_do_not_name(added):
    space = Space(
        {**DEFAULT_SPACE, "sparsification.start": (0.0, 0.3), "extra.quantize.rounding": ["down"],
         "extra.quantize.bits": (2, 4), "late_factorization.rank": (0.2, 1.0)}
    )  # fmt: skip
    found = dict(initial_params(space))
    assert {"folded", "article", "smallest"} <= found.keys()
    for params in found.values():
        assert params["sparsification.start"] == 0.0
        assert params["extra.quantize.bits"] == 4
        assert params["extra.quantize.rounding"] == "down"
        assert params["late_factorization.rank"] == 1.0
    recipe = space.recipe(found["article"])
    assert recipe.late_factorization is None
    assert recipe.sparsification.start == 0.0


def test_a_wish_may_use_any_name_and_comes_back_by_the_names_of_the_space():
    space = Space({"sparsification.sparsity": (0.0, 0.8), "rank": [0.25, 0.5]})
    assert space.nearest({"sparsity": 0.9, "factorization.rank": 0.3}) == {
        "sparsification.sparsity": 0.8,
        "rank": 0.25,
    }
    assert space.nearest({"sparsity": 0.9}) is None


def test_a_derived_candidate_has_part_of_the_sparsity():
    space = Space({"sparsification.sparsity": (0.0, 0.8), "sparsity_late": [0.4, 0.8]})
    params = {"sparsification.sparsity": 0.8, "sparsity_late": 0.4, "linear_sparsity": None}
    recipe = Recipe(training=Training(recovery_epochs=0))
    assert space.derived(params, recipe, 0.5) == {
        "sparsification.sparsity": 0.4,
        "sparsity_late": 0.2,
        "linear_sparsity": None,
        "recovery_epochs": 0,
    }


def test_fewer_epochs_are_trained_at_a_lower_fidelity_unless_they_are_searched():
    space = Space({"training.epochs": [4, 8]}, Training(epochs=9, recovery_epochs=1))
    short = space.at_fidelity(0.34, conditional=False)
    assert (short.training.epochs, short.training.recovery_epochs) == (3, 1)
    assert not short.conditional
    assert short.recipe({"training.epochs": 8}).training.epochs == 8
