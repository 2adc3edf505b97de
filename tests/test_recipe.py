import json
from dataclasses import dataclass, replace

import pytest

from autocompress.errors import ConfigurationError
from autocompress.recipe import EXTRA_SETTINGS, Recipe
from autocompress.settings import setting
from autocompress.techniques.distillation import Distillation
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Training

FULL = Recipe(
    distillation=Distillation(weight=0.3, temperature=2.5),
    sparsification=Sparsification(sparsity=(0.1, 0.2, 0.3), exclude=("head",)),
    pruning=Pruning(round_to=8),
    factorization=Factorization(rank=0.25),
    fold=False,
    training=Training(epochs=3),
    precision="int8",
)


@pytest.mark.parametrize("recipe", [FULL, Recipe()], ids=["full", "empty"])
def test_a_recipe_goes_to_json_and_back(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_unknown_key_is_reported_with_its_place():
    data = FULL.to_dict()
    data["sparsification"]["sparsty"] = 0.4
    with pytest.raises(ConfigurationError, match=r"recipe.sparsification.*'sparsity'"):
        Recipe.from_dict(data)


def test_a_recipe_from_before_there_was_a_precision_is_in_fp32():
    data = Recipe().to_dict()
    del data["precision"]
    assert Recipe.from_dict(data).precision == "fp32"


def test_an_unknown_precision_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"precision: expected one of fp32, fp16, int8, got 'int4'"
    ):
        Recipe.from_dict({"precision": "int4"})


@dataclass(frozen=True)
class Quantization:
    bits: int = setting(help="of a weight", low=2, high=8)
    symmetric: bool = True


@pytest.fixture
def quantize():
    EXTRA_SETTINGS.register(Quantization, "quantize")
    yield
    EXTRA_SETTINGS.unregister("quantize")


def test_everything_wrong_with_a_recipe_is_reported_with_its_path():
    data = FULL.to_dict()
    data["sparsification"] |= {"sparsty": 0.4, "criterion": "larg_final"}
    data["training"]["epochs"] = -1
    data["factorization"] |= {"energy": 0.5}
    data["extra"] = {"quantize": {}}
    with pytest.raises(ConfigurationError) as caught:
        Recipe.from_dict(data)
    assert [line.split(": ")[0] for line in caught.value.problems] == [
        "recipe.extra.quantize",
        "recipe.sparsification.sparsty",
        "recipe.sparsification.criterion",
        "recipe.factorization.rank",
        "recipe.training.epochs",
    ]


def test_values_are_read_and_replaced_by_path():
    assert FULL.value("sparsification.sparsity") == (0.1, 0.2, 0.3)
    assert Recipe().value("sparsification.sparsity") is None
    changed = FULL.with_values(
        {"sparsification.end": 0.5, "distillation": None, "late_factorization.rank": 0.5,
         "precision": "fp32", "training.epochs": 4, "start": 12}
    )  # fmt: skip
    assert changed.sparsification == replace(FULL.sparsification, end=0.5)
    assert changed.distillation is None
    assert changed.late_factorization == Factorization(rank=0.5)
    assert (changed.precision, changed.training.epochs, changed.start) == ("fp32", 4, 12)
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed


def test_everything_wrong_with_new_values_is_reported():
    with pytest.raises(ConfigurationError) as caught:
        FULL.with_values(
            {
                "sparsification.ende": 0.5,
                "sparsification.end": 1.5,
                "distillation.weight": 2,
                "precision": "int4",
                "training": None,
            }
        )
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for hint in (
        "no 'sparsification.ende' (did you mean 'sparsification.end'?)",
        "sparsification.end: expected a number in [0, 1], got 1.5",
        "distillation.weight: expected a number in [0, 1], got 2",
        "precision: expected one of fp32, fp16, int8, got 'int4'",
        "training: expected a table of keys, got None",
    ):
        assert hint in told
    with pytest.raises(ConfigurationError, match=r"^sparsification.start: expected at most end"):
        FULL.with_values({"sparsification.start": 0.5, "sparsification.end": 0.2})


def test_a_recipe_holds_the_settings_of_added_stages(quantize):
    recipe = Recipe().with_values({"extra.quantize.bits": 4})
    assert recipe.extra == {"quantize": Quantization(4)}
    assert recipe.value("extra.quantize.bits") == 4
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.with_values({"extra.quantize": None}).extra == {}
    assert "extra.quantize.symmetric" in Recipe.paths()
    with pytest.raises(ConfigurationError, match=r"^extra.quantize.bits: missing"):
        Recipe().with_values({"extra.quantize.symmetric": False})
    with pytest.raises(ConfigurationError, match=r"extra.quantize: expected its settings"):
        Recipe(extra={"quantize": {"bits": 4}})


def test_a_stage_that_was_not_added_is_reported():
    data = {"extra": {"quantise": {"bits": 4}}}
    with pytest.raises(
        ConfigurationError, match=r"recipe.extra.quantise: no stage 'quantise' was"
    ):
        Recipe.from_dict(data)
    with pytest.raises(ConfigurationError, match=r"^extra.quantise: no stage"):
        Recipe(extra={"quantise": Quantization(4)})


def test_every_path_knows_its_bounds_and_default():
    paths = Recipe.paths()
    assert paths["sparsification.end"].rule.high == 1
    assert paths["factorization.min_rank"].default == 16
    assert paths["training.learning_rate"].expected() == "a number in (0, 10]"
