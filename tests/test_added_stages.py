"""Stages of a user's own, in a pipeline that trains nothing."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch

import autocompress as ac
from autocompress.errors import ConfigurationError, TrialError
from autocompress.recipe import EXTRA_SETTINGS
from autocompress.techniques.analysis import analyze
from autocompress.testing.stages import check_stage

from tiny_models import TinyVgg

UNTRAINED = ac.Recipe(fold=False, training=ac.Training(epochs=0, recovery_epochs=0))
OWN = [stage.name for stage in ac.STAGES]


@dataclass(frozen=True)
class Rounding:
    digits: int = 3


def round_weights(model, settings, *, example):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.round(decimals=settings.digits))
    return model, ac.Report(sentences=(f"rounded to {settings.digits} digits",))


@dataclass(frozen=True)
class Nothing:
    pass


def copied(state, recipe, work):
    return ac.Change(model=copy.deepcopy(state.model))


def shifted(state, recipe, work):
    model = copy.deepcopy(state.model)
    with torch.no_grad():
        model.head.bias += 1
    return ac.Change(model=model)


def broken(model, settings, *, example):
    return shifted(ac.State(model), None, None).model, ac.Report()


def of_any_recipe(name="own", function=copied, **more):
    return ac.Stage(name=name, function=function, wanted=lambda recipe: True, **more)


def names():
    return [stage.name for stage in ac.STAGES]


@pytest.fixture(autouse=True)
def forgotten_stages():
    """What a test adds is removed after it."""
    yield
    for name in set(names()) - set(OWN):
        ac.remove_stage(name)
    assert names() == OWN


@pytest.fixture(scope="module")
def baseline():
    torch.manual_seed(0)
    return TinyVgg().eval()


@pytest.fixture(scope="module")
def work(data, task, baseline):
    return ac.Work(data=data, task=task, analysis=analyze(baseline, data.example))


def test_a_technique_is_a_stage_of_the_recipes_that_have_its_settings(baseline, work):
    stage = ac.technique_stage(round_weights, Rounding)
    ac.add_stage(stage, after="recover")
    assert names()[3:5] == ["recover", "round_weights"]
    recipe = replace(UNTRAINED, extra={"round_weights": Rounding(digits=1)})
    made = ac.compress(baseline, recipe, work)
    assert made.stages[-1].stage == "round_weights"
    assert made.stages[-1].report == ("rounded to 1 digits",)
    assert all(torch.equal(p, p.round(decimals=1)) for p in made.model.parameters())
    check_stage(stage, ac.State(baseline), recipe, work, build=TinyVgg)
    assert ac.Recipe.from_dict(recipe.to_dict()) == recipe
    without = ac.compress(baseline, replace(recipe, extra={}), work)
    assert without.stages[-1].stage == "recover"


def test_a_stage_may_use_the_data(baseline, work):
    def center(state, recipe, work):
        model = copy.deepcopy(state.model)
        inputs = torch.cat([*work.data.calibration(20)])
        with torch.no_grad():
            model.head.bias -= model(inputs).mean(0)
        return ac.Change(model=model, report=ac.Report(sentences=("outputs are centred",)))

    ac.add_stage(of_any_recipe("center", center), after="fold")
    made = ac.compress(baseline, replace(UNTRAINED, fold=True), work)
    assert [result.stage for result in made.stages] == ["recover", "fold", "center"]


@pytest.mark.parametrize(
    ("stage", "extra"),
    [
        (ac.technique_stage(broken, Nothing, exact=True), {"broken": Nothing()}),
        (of_any_recipe("broken", shifted, exact=True), {}),
    ],
    ids=["technique", "made by hand"],
)
def test_an_exact_stage_that_changes_outputs_fails_by_its_name(stage, extra, baseline, work):
    ac.add_stage(stage, after="prune")
    recipe = replace(UNTRAINED, extra=extra)
    with pytest.raises(TrialError, match="broken: outputs before and after differ") as caught:
        ac.compress(baseline, recipe, work)
    assert caught.value.stage == "broken"
    with pytest.raises(AssertionError, match=r"broken: it fails: .* outputs before and after"):
        check_stage(stage, ac.State(baseline), recipe, work)


def test_the_contract_does_not_trust_a_stage_that_says_it_verified(baseline, work):
    def claimed(state, recipe, work):
        return replace(shifted(state, recipe, work), verified=True)

    stage = of_any_recipe("claimed", claimed, exact=True)
    with pytest.raises(AssertionError, match="it declares to be exact, but outputs differ by"):
        check_stage(stage, ac.State(baseline), UNTRAINED, work)


def test_an_exact_stage_that_keeps_outputs_passes(baseline, work):
    check_stage(of_any_recipe(exact=True), ac.State(baseline), UNTRAINED, work, build=TinyVgg)


def test_the_stages_of_the_pipeline_stay():
    with pytest.raises(ConfigurationError, match="there already is a stage 'prune'"):
        ac.add_stage(of_any_recipe("prune"), after="train")
    with pytest.raises(ConfigurationError, match="no stage 'fold' was added; added are: none"):
        ac.remove_stage("fold")


def test_a_stage_needs_a_place_and_a_name():
    ac.add_stage(of_any_recipe(), after="prune")
    for stage in (of_any_recipe(), of_any_recipe("other")):
        with pytest.raises(ConfigurationError, match=r"unknown stage 'purne' .did you mean 'prun"):
            ac.add_stage(stage, after="purne")
    with pytest.raises(ConfigurationError, match="stage 'own' cannot follow itself"):
        ac.add_stage(of_any_recipe(), after="own")
    assert names() == ["train", "prune", "own", *OWN[2:]]
    with pytest.raises(ConfigurationError, match="a stage needs a name, as def gives it"):
        ac.technique_stage(lambda model, settings, *, example: (model, ac.Report()), Nothing)


def test_a_stage_that_is_removed_is_forgotten():
    ac.add_stage(ac.technique_stage(round_weights, Rounding), after="recover")
    ac.remove_stage("round_weights")
    assert names() == OWN
    assert "round_weights" not in EXTRA_SETTINGS
    with pytest.raises(ConfigurationError, match="no stage 'round_weights' was added"):
        ac.remove_stage("round_weights")


def test_a_stage_that_is_added_again_replaces_itself_in_its_place():
    ac.add_stage(of_any_recipe("first"), after="recover")
    ac.add_stage(of_any_recipe("second"), after="recover")
    before = names()
    again = of_any_recipe("first")
    ac.add_stage(again, after="recover")
    assert names() == before == [*OWN[:4], "second", "first", *OWN[4:]]
    assert ac.STAGES[5] is again
    ac.add_stage(again, after="prune")
    assert names() == ["train", "prune", "first", *OWN[2:4], "second", *OWN[4:]]


def test_a_stage_that_is_added_again_may_have_other_settings():
    ac.add_stage(ac.technique_stage(round_weights, Rounding), after="recover")
    ac.add_stage(ac.technique_stage(round_weights, Nothing), after="recover")
    assert EXTRA_SETTINGS["round_weights"] is Nothing
    ac.add_stage(of_any_recipe("round_weights"), after="recover")
    assert "round_weights" not in EXTRA_SETTINGS


def test_settings_of_an_earlier_definition_are_named():
    ac.add_stage(ac.technique_stage(round_weights, Rounding), after="recover")

    def defined_anew():
        @dataclass(frozen=True)
        class Rounding:
            digits: int = 3

        return Rounding()

    with pytest.raises(ConfigurationError, match=r"a Rounding, got .* of another definition"):
        replace(UNTRAINED, extra={"round_weights": defined_anew()})
