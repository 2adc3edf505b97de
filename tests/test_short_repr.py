"""What a notebook prints of an object is short, and says what it is."""

import pytest

import autocompress as ac

from made_up_runs import made_up_run

SHORT = 500  # characters


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "made_up", complete=6, failed=1)


@pytest.fixture(scope="module")
def objects(run, begun):
    """One object of each public kind that a session with a run meets, by its name."""
    model, data = begun.baseline, begun.problem.data
    sparse, sparsified = ac.sparsify(model, ac.Sparsification(), units=begun.analysis.units)
    small, pruned = ac.prune(sparse, ac.Pruning(), example=data.example)
    _, factorized = ac.factorize(model, ac.Factorization(rank=0.25))
    _, folded = ac.fold_batch_norms(model, example=data.example)
    plan = ac.Plan().then(*pruned.steps, *folded.steps)
    reports = {"sparsified": sparsified, "pruned": pruned, "factorized": factorized}
    return {
        **reports,
        "folded": folded,
        "run": run,
        "trial": run.trials()[0],
        "final": run.final,
        "structure": run.structure,
        "context": begun,
        "space": begun.problem.config.space(),
        "data": data,
        "analysis": begun.analysis,
        "units": begun.analysis.units,
        "group": next(iter(begun.analysis.units)),
        "plan": plan,
        "state": ac.State(small, plan),
        "work": ac.Work(data=data, task=begun.problem.task, analysis=begun.analysis),
        "change": ac.Change(model=small, report=pruned),
        "stage": ac.STAGES[0],
        "criteria": ac.CRITERIA,
        "recipe": ac.Recipe(sparsification=ac.Sparsification(sparsity=0.25), pruning=ac.Pruning()),
        "result": ac.TrialResult(state="complete", recipe=ac.Recipe().to_dict()),
    }


KINDS = (
    *("sparsified", "pruned", "factorized", "folded", "run", "trial", "final", "structure"),
    *("context", "space", "data", "analysis", "units", "group", "plan", "state", "work"),
    *("change", "stage", "criteria", "recipe", "result"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_is_short(kind, objects):
    text = repr(objects[kind])
    assert "\n" not in text
    assert " at 0x" not in text
    assert len(text) < SHORT


def test_a_recipe_shows_what_is_not_the_default(objects):
    text = "Recipe(sparsification=Sparsification(sparsity=0.25), pruning=Pruning())"
    assert repr(objects["recipe"]) == text
    assert eval(text, vars(ac)) == objects["recipe"]


def test_trials_show_their_recipe_and_what_they_are_worth_or_why_not(run):
    trials = {trial.state: trial for trial in run.trials()}
    complete, failed = trials["complete"], trials["failed"]
    shown = repr(complete)
    assert shown.startswith(f"<trial {complete.number}, complete; {complete.in_short}; ")
    assert f"accuracy={complete.metrics['accuracy'].value:.4g}" in shown
    assert repr(failed).endswith(f"; {failed.stage}: {failed.reason}>")


def test_a_run_shows_its_name_and_folder(run):
    assert repr(run) == f"<Run {run.name!r} in {run.path}>"


def test_data_shows_its_sizes_and_the_shape_of_an_input(data, task):
    assert repr(data) == "<TensorData: 600 train, 200 valid, 200 test; inputs [1, 8, 8]>"
    loaders = ac.as_data((data.train(0), data.valid, data.test), task=task, device="cpu")
    assert repr(loaders) == "<LoaderData: 200 valid, 200 test; inputs [1, 8, 8]>"


def test_units_and_registries_show_what_is_in_them(objects):
    units = objects["units"]
    count = sum(group.size for group in units)
    assert repr(units) == f"<Units: {count} in {len(units)} groups, {count} removable>"
    assert repr(ac.ALLOCATIONS) == "<Registry, allocation: uniform>"
