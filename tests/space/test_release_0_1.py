"""For the same flat names, the same recipes and the same questions to Optuna as release 0.1."""

import json
from pathlib import Path

import optuna
import pytest

from autocompress.config import load_study, template
from autocompress.errors import ConfigurationError
from autocompress.recipe import Recipe
from autocompress.space.initial import initial_params
from autocompress.space.space import Space
from autocompress.training.fitting import Training

RECORDED = json.loads((Path(__file__).parent / "release_0_1.json").read_text())
STUDIES = Path(__file__).parents[2] / "studies"
TRAINING = Training(recovery_learning_rate=0.25, weight_decay=0.1)


@pytest.fixture
def space_of(tmp_path):
    def space(name, **options):
        path = STUDIES / name
        if name == "template.toml":
            path = tmp_path / name
            path.write_text(template())
        return load_study(path).space(**options)

    return space


@pytest.mark.parametrize("row", RECORDED["recipes"])
def test_the_same_names_make_the_same_recipe(row):
    space = Space({}, TRAINING, exclude=tuple(row["exclude"]))
    if row["recipe"] is None:
        with pytest.raises(ConfigurationError, match="rewind"):
            space.recipe(row["params"])
    else:
        assert space.recipe(row["params"]) == Recipe.from_dict(row["recipe"])


@pytest.mark.parametrize(
    "asked", RECORDED["asked"], ids=lambda a: f"{a['study']}-{a['conditional']}"
)
def test_the_same_study_asks_for_the_same_values(asked, space_of):
    space = space_of(asked["study"], conditional=asked["conditional"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    assert [space.sample(study.ask()) for _ in asked["params"]] == asked["params"]


@pytest.mark.parametrize("name", RECORDED["initial"])
def test_the_same_study_begins_with_the_same_recipes(name, space_of):
    found = [list(entry) for entry in initial_params(space_of(name))]
    assert found == RECORDED["initial"][name]
