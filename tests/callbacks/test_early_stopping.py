import json
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import create_trial

from autocompress.recipe import Recipe
from autocompress.search import watching
from autocompress.search.drafting import Draft
from autocompress.search.limits import UNFINISHED, Limits
from autocompress.search.watching import History, StoppedEarlyError, TrialWatch
from autocompress.search.workbench import Economy
from autocompress.training.fitting import EpochRecord, Follower, Training

RECIPE = Recipe(training=Training(epochs=3, recovery_epochs=1))


def points(accuracies):
    stages = ["sparsify"] * 3 + ["recover"]
    return [{"stage": s, "accuracy": a} for s, a in zip(stages, accuracies, strict=False)]


@pytest.fixture
def study(tmp_path):
    """Ten good trials that hardly changed after their first epoch, and what must not count."""
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    for number in range(10):
        (tmp_path / f"{number:05d}").mkdir()
        curve = points([0.90, 0.90, 0.905, 0.91 + number / 1000])
        (tmp_path / f"{number:05d}" / "curve.json").write_text(json.dumps(curve))
        values = [0.91 + number / 1000, 1.0, 100.0]
        facts = {"seconds": {"sparsify": 15.0 + number, "recover": 2.0}}
        study.add_trial(create_trial(values=values, user_attrs=facts, constraints={"a": -1.0}))
    study.add_trial(create_trial(values=[1, 1, 1], user_attrs={"harvested_from": 0}))
    study.add_trial(create_trial(values=[1, 1, 1], constraints=UNFINISHED))  # a stand-in
    return study


def watch(study, folder, *, latency_ms=2.0, exact=True, economy=None, **limits):
    class Heard(Follower):
        epochs = 0

        def epoch(self, record, model):
            self.epochs += 1

    bench = SimpleNamespace(
        follower=Heard(),
        economy=economy or Economy(),
        limits=Limits(**limits),
        baseline_metrics={"accuracy": 0.93},
        batches=SimpleNamespace(splits=SimpleNamespace(valid=SimpleNamespace(labels=[0] * 1000))),
    )
    ratios = {"parameter_ratio": 0.5, "latency_ratio": 0.5}
    drafted = Draft(parameters=200, latency_ms=latency_ms, exact=exact, **ratios)
    return TrialWatch(study.ask(), RECIPE, drafted, bench, history(folder))


def history(folder):
    return History(folder, lambda trial: all(by <= 0 for by in trial.constraints.values()))


def hear(watch, accuracy, epoch=1):
    watch.epoch(EpochRecord("sparsify", epoch, 1.0, 1.0, accuracy), None)


def test_only_trials_that_trained_to_the_end_are_known(study, tmp_path):
    known = history(tmp_path).of(study)
    assert [trial.number for trial in known] == list(range(10))
    assert known[3].curve == {"sparsify": [0.90, 0.90, 0.905], "recover": [0.913]}
    assert known[3].feasible


@pytest.mark.parametrize(("least_s", "pays"), [(21.0, True), (22.0, False)])
def test_drafts_must_cost_less_than_stopping_saves(study, tmp_path, monkeypatch, least_s, pays):
    monkeypatch.setattr(watching, "PAYS_S", least_s)
    assert history(tmp_path).makes_stopping_pay(study) is pays


def test_drafts_wait_until_enough_is_known(tmp_path):
    fresh = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    assert not history(tmp_path).makes_stopping_pay(fresh)


def test_a_hopeless_trial_is_stopped_with_what_is_known(study, tmp_path):
    hopeless = watch(study, tmp_path)
    with pytest.raises(StoppedEarlyError, match=r"trial 9 has 0\.9190") as caught:
        hear(hopeless, 0.3)
    assert caught.value.stage == "sparsify"
    assert caught.value.facts["dominated_by"] == 9
    assert caught.value.facts["epoch"] == 1
    assert 0.3 < caught.value.facts["bound"] < 0.919
    assert caught.value.metrics["accuracy"] == 0.3
    assert caught.value.metrics["parameters"] == 200
    assert hopeless.bench.follower.epochs == 1


@pytest.mark.parametrize(
    "change",
    [
        {"latency_ms": 1.05},  # may be faster than all others
        {"latency_ms": None},
        {"exact": False},
        {"economy": Economy(early_stopping=False)},
    ],
)
def test_what_may_still_win_goes_on(study, tmp_path, change):
    hopeful = watch(study, tmp_path, **change)
    hear(hopeful, 0.3)
    assert hopeful.bench.follower.epochs == 1


def test_a_good_trial_goes_on(study, tmp_path):
    hear(watch(study, tmp_path), 0.95)


def test_a_limit_on_accuracy_stops_too(study, tmp_path):
    fastest = watch(study, tmp_path, latency_ms=0.1, accuracy_drop=0.05)
    with pytest.raises(StoppedEarlyError, match="below the limit"):
        hear(fastest, 0.3)


def test_a_limit_on_accuracy_needs_no_draft(study, tmp_path):
    undrafted = watch(study, tmp_path, accuracy_drop=0.05)
    undrafted.drafted = None
    with pytest.raises(StoppedEarlyError, match="below the limit"):
        hear(undrafted, 0.3)
