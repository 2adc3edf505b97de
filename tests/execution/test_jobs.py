import optuna
import pytest
from optuna.trial import create_trial

from autocompress.search.harvesting import leads
from autocompress.search.limits import FINISHED, UNFINISHED
from autocompress.search.workbench import OBJECTIVES

BEST = (0.9, 1.0, 1000)


def study_with(*trials):
    study = optuna.create_study(directions=[*OBJECTIVES.values()])
    for values, constraints in trials:
        study.add_trial(create_trial(values=values, constraints=constraints))
    return study


def leads_beside(values, constraints=FINISHED, *, others=((BEST, FINISHED),)):
    study = study_with(*others, (values, constraints))
    feasible = lambda trial: all(by <= 0 for by in trial.constraints.values())  # noqa: E731
    return leads(study, study.get_trials(deepcopy=False)[-1], feasible)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.91, 2.0, 2000), True),
        ((0.8, 0.5, 2000), True),
        ((0.8, 2.0, 500), True),
        (BEST, True),
        ((0.9, 1.0, 1001), False),
        ((0.89, 1.1, 1001), False),
    ],
)
def test_only_what_nothing_beats_leads(values, expected):
    assert leads_beside(values) is expected


def test_what_breaks_a_limit_neither_leads_nor_stands_in_the_way():
    broken = {**FINISHED, "parameters": 1.0}
    assert not leads_beside((0.99, 0.1, 10), broken)
    assert not leads_beside((0.99, 0.1, 10), UNFINISHED)
    assert leads_beside((0.8, 2.0, 2000), others=((BEST, broken), (BEST, UNFINISHED)))
