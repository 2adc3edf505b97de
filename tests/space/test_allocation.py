from types import SimpleNamespace

import pytest

from autocompress.errors import ConfigurationError
from autocompress.space import ALLOCATIONS, Space

ANALYSIS = SimpleNamespace(
    units=SimpleNamespace(
        groups=(
            SimpleNamespace(name="0", size=8, kind="convolution"),
            SimpleNamespace(name="3", size=16, kind="convolution"),
            SimpleNamespace(name="8", size=4, kind="linear"),
        )
    )
)


@pytest.fixture
def register():
    names = []

    def add(function):
        names.append(function.__name__)
        return ALLOCATIONS.register(function)

    yield add
    for name in names:
        ALLOCATIONS.unregister(name)


def test_an_allocation_gives_each_group_its_own_sparsity(register):
    @register
    def by_width(params, analysis):
        groups = analysis.units.groups
        return {g.name: params["sparsity"] * params["coefficients.slope"] * g.size for g in groups}

    space = Space({"coefficients.slope": (0.0, 0.1)}, allocation="by_width")
    recipe = space.recipe({"sparsity": 0.5, "coefficients.slope": 0.1}, ANALYSIS)
    assert recipe.sparsification.sparsity == pytest.approx({"0": 0.4, "3": 0.8})
    assert recipe.sparsification.linear_sparsity == pytest.approx({"8": 0.2})
    assert space.recipe({"sparsity": 0.0}, ANALYSIS).sparsification is None


def test_an_allocation_may_be_a_function_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_allocation.py").write_text(
        "def first(params, analysis):\n    return {analysis.units.groups[0].name: 0.25}\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = Space({}, allocation="my_allocation:first").recipe({"sparsity": 0.5}, ANALYSIS)
    assert recipe.sparsification.sparsity == {"0": 0.25}
    assert recipe.sparsification.linear_sparsity == 0.0


def test_uniform_is_one_number():
    assert Space({}).recipe({"sparsity": 0.5}, ANALYSIS).sparsification.sparsity == 0.5
    assert ALLOCATIONS["uniform"]({"sparsity": 0.5}, ANALYSIS) == {"0": 0.5, "3": 0.5, "8": 0.5}


def test_an_allocation_of_nothing_leaves_the_stage_out(register):
    @register
    def nothing(params, analysis):
        return {"0": 0.0}

    recipe = Space({}, allocation="nothing").recipe({"sparsity": 0.5}, ANALYSIS)
    assert recipe.sparsification is None


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ({"4": 0.5}, "there is no group '4'; groups are: 0, 3, 8"),
        ({"0": 1.5}, r"0: expected a number in \[0, 1\], got 1.5"),
        (None, "failed: TypeError"),
    ],
)
def test_what_is_wrong_with_an_allocation_is_reported(register, returned, problem):
    @register
    def wrong(params, analysis):
        return returned

    with pytest.raises(ConfigurationError, match=f"allocation 'wrong'.*{problem}"):
        Space({}, allocation="wrong").recipe({"sparsity": 0.5}, ANALYSIS)


def test_an_allocation_needs_a_model():
    space = Space({}, allocation="by_with")
    with pytest.raises(ConfigurationError, match="needs the analysis of a model"):
        space.recipe({"sparsity": 0.5})
    with pytest.raises(ConfigurationError, match="unknown allocation 'by_with'"):
        space.recipe({"sparsity": 0.5}, ANALYSIS)
