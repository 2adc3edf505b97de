import json

import pytest

from autocompress.errors import ConfigurationError
from autocompress.recipe import Recipe
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


def test_an_unknown_key_is_told_with_its_place():
    data = FULL.to_dict()
    data["sparsification"]["sparsty"] = 0.4
    with pytest.raises(ConfigurationError, match=r"recipe.sparsification.*'sparsity'"):
        Recipe.from_dict(data)


def test_a_recipe_from_before_there_was_a_precision_is_in_fp32():
    data = Recipe().to_dict()
    del data["precision"]
    assert Recipe.from_dict(data).precision == "fp32"


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigurationError, match=r"one of fp32, fp16, int8, got 'int4'"):
        Recipe.from_dict({"precision": "int4"})
