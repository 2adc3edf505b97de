import dataclasses
import json
import math
import random
import subprocess
import sys

import pytest

from autocompress.artifacts import write_json
from autocompress.documents import read_json
from autocompress.errors import RunError, UsageError
from autocompress.results import TrialResult
from autocompress.runs import Run, layout
from autocompress.runs.importances import MIN_TRIALS
from autocompress.runs.journal import Ended, Proposed, Session
from autocompress.runs.lock import only_writer
from autocompress.runs.stored import Structure

from made_up_runs import (
    BASELINE,
    BEGAN,
    FIVE,
    FOUR,
    ONE,
    REASON,
    SAMPLES_MS,
    THREE,
    TWO,
    UNITS,
    add_trial,
    journal,
    made_up_run,
)

TIME = BEGAN.isoformat()


@pytest.fixture
def run(tmp_path):
    return made_up_run(tmp_path / "made_up", stopped=2, derived=3, running=1)


def test_what_a_run_began_with_is_read(run):
    assert run.name == "made_up"
    assert run.created == BEGAN
    assert [metric.name for metric in run.objectives] == list(THREE)
    assert run.score.name == "accuracy"
    assert run.fingerprint["threads"] == 1
    assert run.sizes["valid"] == 500
    assert run.task == "classification"
    assert run.config["study"]["trials"] == 30
    assert run.structure == Structure.from_dict(UNITS)
    assert run.structure.staying["classifier.0"] == "softmax"
    assert run.metrics["test_accuracy"].title == "accuracy on test"


def test_the_baseline_is_what_was_measured_and_its_test_score(run):
    assert run.baseline == {**BASELINE, "test_accuracy": run.baseline["test_accuracy"]}
    assert run.baseline["test_accuracy"].value == 0.979
    assert list(run.baseline_samples_ms) == SAMPLES_MS


def test_a_run_that_has_only_begun_is_empty(tmp_path):
    run = made_up_run(tmp_path / "begun", complete=0, failed=0, pruned=0)
    assert run.trials() == run.front() == []
    assert run.baseline == {}
    assert run.picks() == {}
    assert not run.finished
    assert run.infeasibility() is None
    assert run.importances().empty
    assert run.structure == Structure()
    assert run.status().counts.complete == 0
    with pytest.raises(UsageError, match="no finished, feasible trial"):
        run.pick("fast")
    with pytest.raises(UsageError, match="has no trial 0; it has no trials yet"):
        run.trial(0)


def test_trials_have_their_states_and_reasons(run):
    states = [trial.state for trial in run.trials()]
    assert {state: states.count(state) for state in set(states)} == {
        "complete": 27,
        "pruned": 5,
        "failed": 2,
        "waiting": 1,
    }
    failed = next(trial for trial in run.trials() if trial.state == "failed")
    assert (failed.stage, failed.reason) == ("prune", REASON)
    stopped = next(trial for trial in run.trials() if trial.bound is not None)
    assert (stopped.state, stopped.stage, stopped.bound) == ("pruned", "train", 0.96)
    assert not stopped.feasible


def test_a_complete_trial_has_all_that_was_stored(run):
    trial = next(t for t in run.trials() if t.state == "complete" and t.parent is None)
    assert trial.folder.name == f"{trial.number:05d}"
    assert len(trial.curve) == 7
    assert [row.stage for row in trial.stages][:2] == ["train", "prune"]
    assert trial.seconds == {"train": 30.0, "recover": 8.0}
    assert 25 <= trial.duration_s <= 40
    assert trial.threads == 1
    assert trial.precision == "fp32"
    assert trial.in_short.startswith(trial.params["granularity"])
    assert trial.counts


def test_derived_trials_have_a_parent_and_do_not_count(run):
    derived = [trial for trial in run.trials() if trial.parent is not None]
    assert len(derived) == 3
    assert all(trial.origin == "derived" and not trial.counts for trial in derived)
    assert all(trial.started is None and trial.duration_s is None for trial in derived)
    assert all(trial.finished is not None for trial in derived)


@pytest.mark.parametrize("objectives", [ONE, TWO, THREE, FOUR, FIVE])
def test_the_front_is_not_dominated(tmp_path, objectives):
    run = made_up_run(tmp_path / "run", objectives=objectives)
    front = run.front()
    assert front

    def costs(trial):
        return [metric.sign * trial.searched[metric.name].value for metric in run.objectives]

    for one in front:
        for other in run.trials():
            if other.feasible and other.number != one.number:
                better = all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
                assert not better or costs(other) == costs(one)
    off = {t.number for t in run.trials() if t.feasible} - {t.number for t in front}
    dominated = {
        other.number
        for other in run.trials()
        if other.number in off
        and any(
            all(a <= b for a, b in zip(costs(one), costs(other), strict=True)) for one in front
        )
    }
    assert dominated == off


@pytest.mark.parametrize("objectives", [ONE, TWO, THREE, FOUR, FIVE])
def test_picks_are_extremes_of_the_front(tmp_path, objectives):
    run = made_up_run(tmp_path / "run", objectives=objectives)
    front = run.front()
    assert list(run.picks()) == [*(metric.pick for metric in run.objectives), "balanced"]
    for metric in run.objectives:
        best = min(metric.sign * trial.metrics[metric.name].value for trial in front)
        assert metric.sign * run.pick(metric.pick).metrics[metric.name].value == best


def test_the_front_begins_with_the_fastest(run):
    latencies = [trial.metrics["latency_ms"].value for trial in run.front()]
    assert latencies == sorted(latencies)


def test_what_was_measured_again_counts_and_the_search_is_kept(run):
    for trial in run.front():
        searched, counts = trial.searched["latency_ms"], trial.metrics["latency_ms"]
        assert counts.value == pytest.approx(1.01 * searched.value)
        assert "test_accuracy" in trial.metrics
        assert "test_accuracy" not in trial.searched
        assert trial.final_stages[-1].latency_ms == searched.value
        assert [row.stage for row in trial.final_stages] == [row.stage for row in trial.stages]
    off = [t for t in run.trials() if t.number not in {f.number for f in run.front()}]
    assert all("test_accuracy" not in trial.metrics for trial in off)


def test_a_final_latency_over_the_limit_leaves_the_front_but_dominates_as_before(run):
    fastest, document = run.front()[0], read_json(run.path / layout.FINAL)
    latency = document["trials"][str(fastest.number)]["metrics"]["latency_ms"]
    latency["value"] = 10.0
    write_json(run.path / layout.FINAL, document)
    assert run.trial(fastest.number).metrics["latency_ms"].value == 10.0
    assert run.front()[-1].number == fastest.number
    study = run.path / layout.STUDY
    study.write_text(study.read_text() + "latency_ms = 9.0\n")
    assert fastest.number not in [trial.number for trial in run.front()]


def test_a_budget_that_nothing_keeps_names_the_nearest(run):
    budget = {"latency_ms": 1e-9}
    with pytest.raises(UsageError, match=r"nearest is trial \d+ \(it misses latency_ms\)"):
        run.pick("fast", budget)
    assert run.front(budget) == []
    with pytest.raises(UsageError, match="unknown metric"):
        run.front({"latencyms": 1.0})


def test_budgets_of_maximized_metrics_are_the_least(run):
    within = run.front({"accuracy": 0.95})
    assert within
    assert all(trial.metrics["accuracy"].value >= 0.95 for trial in within)


@pytest.mark.parametrize("number", [-1, 99])
def test_a_trial_that_is_not_there_is_refused(run, number):
    with pytest.raises(UsageError, match=rf"has no trial {number}; it has trials 0 to 34"):
        run.trial(number)


def test_the_table_has_a_row_per_trial(run):
    table = run.table()
    assert list(table["trial"]) == list(range(35))
    names = {"accuracy", "accuracy_low", "latency_ms", "latency_ratio", "parameters"}
    more = {"params.sparsity", "on_front", "parent", "predicted_accuracy", "search_latency_ms"}
    assert names | more <= {*table}
    assert sum(table["on_front"]) == len(run.front())


def test_a_metric_of_the_user_has_a_column(tmp_path):
    table = made_up_run(tmp_path / "run", objectives=FOUR).table()
    ratios = table["energy_mj"] / 5.0
    assert list(table["energy_mj_ratio"]) == pytest.approx(list(ratios), nan_ok=True)


def test_the_front_document_is_what_the_command_line_promises(run):
    document = json.loads(json.dumps(run.front_document()))
    assert set(document) == {"study", "objectives", "baseline", "front", "trials"}
    assert document["trials"]["complete"] == 24
    assert document["trials"]["derived"] == 3
    assert document["objectives"]["accuracy"] == "maximize"
    wanted = {"trial", "accuracy", "latency_ms", "latency_ratio", "parameters", "parameter_ratio"}
    more = {"size_bytes", "macs", "feasible", "recipe", "test_accuracy", "search_latency_ms"}
    assert all(wanted | more <= set(member) for member in document["front"])
    assert {"accuracy", "latency_ms", "parameters", "size_bytes"} <= set(document["baseline"])
    fastest = document["front"][0]["latency_ms"]
    assert len(run.front_document({"latency_ms": fastest})["front"]) == 1


def test_limits_may_be_edited_and_hold_at_once(run):
    assert len(run.front()) > 1
    path = run.path / layout.STUDY
    text = path.read_text()
    smallest = min(trial.metrics["parameters"].value for trial in run.front())
    path.write_text(text.replace("[limits]", f"[limits]\nparameters = {smallest}"))
    assert [trial.metrics["parameters"].value for trial in run.front()] == [smallest]
    assert run.limits.bounds(run.baseline)["parameters"] == smallest
    assert Run.open(run.path).front_document()["front"][0]["parameters"] == smallest
    path.write_text(text.replace("[limits]", "[limits]\nparameter = 1"))
    with pytest.raises(RunError, match=r"study.toml.*limits\.parameter: unknown key"):
        run.front()


def test_limits_that_nothing_keeps_are_explained(run):
    path = run.path / layout.STUDY
    path.write_text(path.read_text() + "latency_ratio = 0.001\n")
    found = run.infeasibility()
    assert found.broken["latency_ratio"] == 29  # complete ones, and those stopped early
    assert found.nearest is not None
    assert run.front() == []
    assert run.status().best == {}


def test_no_limits_are_missed_where_there_is_a_front(run):
    assert run.infeasibility() is None


def test_the_status_says_how_far_a_run_is(run):
    status = run.status()
    assert (status.finished, status.active, status.wanted) == (True, False, 30)
    assert dataclasses.asdict(status.counts) == {
        "complete": 24,
        "pruned": 5,
        "failed": 2,
        "running": 0,
        "waiting": 1,
        "derived": 3,
    }
    assert status.eta_s is None
    assert status.seconds_per_stage == {"train": 30.0, "recover": 8.0}
    assert status.best["fast"] == run.front()[0].number
    assert status.front_size == len(run.front())
    assert {reason.reason for reason in status.reasons} >= {REASON, "over the limit"}
    document = json.loads(json.dumps(status.to_dict()))
    assert document["study"] == "made_up"
    assert document["trials"]["wanted"] == 30
    assert document["reasons"][0].keys() == {"trial", "state", "stage", "reason"}


def test_a_run_that_a_process_holds_is_active(tmp_path):
    run = made_up_run(tmp_path / "run", running=2, finished=False, wanted=40)
    idle = run.version()
    with only_writer(run.path):
        assert run.version() != idle
        status = run.status()
        assert status.active
        assert status.counts.running == 2
        own = [trial.duration_s for trial in run.trials() if trial.counts]
        assert status.eta_s == pytest.approx((40 - 29) * sum(own) / len(own) / 2)
        with pytest.raises(RunError, match="being run by another process"), only_writer(run.path):
            pass
    assert run.status().counts.waiting == 2
    assert not run.status().active


def test_an_interrupted_trial_waits_until_it_is_proposed_again(run):
    events, recipe = journal(run.path), {"fold": True}
    interrupted = TrialResult(state="interrupted", recipe=recipe)
    proposed = Proposed(number=50, time=TIME, params={"fold": True}, recipe=recipe)
    events.append(proposed)
    with only_writer(run.path):
        assert run.trial(50).state == "running"
        events.append(Ended(number=50, time=TIME, result=interrupted))
        assert run.trial(50).state == "waiting"
        assert run.trial(50).recipe == recipe
        assert run.trial(50).started is None
        events.append(proposed)
        assert run.trial(50).state == "running"
        events.append(Ended(number=50, time=TIME, result=TrialResult(state="failed", recipe={})))
        assert run.trial(50).state == "failed"
        assert run.trial(50).recipe == recipe


def test_the_recipe_that_was_run_counts(run):
    events = journal(run.path)
    proposed = Proposed(number=50, time=TIME, params={}, recipe={"fold": True})
    ran = TrialResult(state="failed", recipe={"fold": True, "start": 0})
    with only_writer(run.path):
        events.append(proposed)
        events.append(Ended(number=50, time=TIME, result=ran))
    assert (run.trial(50).start, run.trial(50).recipe["start"]) == (0, 0)


def test_what_ran_when_a_session_was_killed_waits_in_the_next(run):
    assert run.trial(34).state == "waiting"
    journal(run.path).append(Session(time=TIME, trials=31))
    with only_writer(run.path):
        assert run.trial(34).state == "waiting"
    assert run.wanted == 31


def test_what_the_last_session_was_to_run_is_wanted(run):
    events = journal(run.path)
    events.append(Session(time=TIME, trials=None, timeout_s=60.0))
    assert run.wanted is None
    assert run.status().eta_s is None
    events.append(Session(time=TIME, trials=50))
    events.append(Session(time=TIME, fidelity=0.5))
    assert run.wanted == 50
    (run.path / layout.JOURNAL).unlink()
    assert run.wanted == 30
    assert run.trials() == []


def test_only_what_is_new_is_read(run):
    before, version = run.trials(), run.version()
    assert run.trials()[0] is before[0]
    add_trial(run.path, 35, "complete", random.Random(1))
    assert run.version() != version
    after = run.trials()
    assert len(after) == 36
    ended = [(old, new) for old, new in zip(before, after, strict=False) if old.finished]
    assert all(old is new for old, new in ended)


def test_an_unfinished_last_line_is_left_out_until_it_is_whole(run):
    path = run.path / layout.JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert len(run.trials()) == len(Run.open(run.path).trials()) == 34
    path.write_bytes(b"".join(lines))
    assert len(run.trials()) == 35


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", '{"format": 99}', "has format 99; expected 2, or 1 of release 0.1"),
        ("run.json", "[]", "has format None"),
        ("run.json", '{"format": 2}', "damaged"),
        ("study.toml", "[study", "cannot be read"),
        ("trials.jsonl", "nothing\n", "trials.jsonl:1: not an event"),
        ("trials.jsonl", '{"event": "ended"}\n', "not an event"),
        ("baseline/evaluation.json", '{"metrics": 1}', "damaged"),
        ("final.json", '{"trials": {"x": 1}}', "damaged"),
    ],
)
def test_a_damaged_run_is_an_error_that_names_the_file(run, name, content, message):
    (run.path / name).write_text(content)
    with pytest.raises(RunError, match=message) as error:
        Run.open(run.path).trials()
    assert name in str(error.value)


def test_a_metric_that_is_not_described_is_an_error(run):
    header = read_json(run.path / layout.HEADER)
    write_json(run.path / layout.HEADER, {**header, "objectives": ["joy"]})
    with pytest.raises(RunError, match="unknown metric 'joy'"):
        Run.open(run.path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match="not a folder"):
        Run.open(tmp_path / "missing")


def test_importances_sum_to_one_and_the_most_important_is_found(run):
    found = run.importances()
    assert set(found["objective"]) == set(THREE)
    sums = found.groupby("objective")["importance"].sum()
    assert list(sums) == pytest.approx([1.0] * 3)
    latency = found[found["objective"] == "latency_ms"].set_index("parameter")
    assert latency["importance"].idxmax() == "sparsity"
    assert latency.loc["sparsity", "correlation"] < -0.9
    assert math.isnan(latency.loc["criterion", "correlation"])
    assert "fold" not in latency.index  # it is a constant


def test_importances_need_enough_trials(tmp_path):
    few = made_up_run(tmp_path / "few", complete=MIN_TRIALS - 1)
    assert few.importances().empty
    assert list(few.importances()) == ["objective", "parameter", "importance", "correlation"]


def test_reading_a_run_loads_neither_torch_nor_optuna(run):
    code = (
        "import sys\n"
        "import autocompress.runs\n"
        f"run = autocompress.runs.Run.open({str(run.path)!r})\n"
        "run.trials(), run.front(), run.picks(), run.status(), run.front_document()\n"
        "heavy = {'torch', 'optuna', 'fastai', 'pandas', 'plotly'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_limits_on_test_scores_are_refused(run):
    path = run.path / "study.toml"
    path.write_text(path.read_text().replace("[limits]", "[limits]\ntest_accuracy = 0.9"))
    with pytest.raises(RunError, match=r"limits.test_accuracy: unknown key"):
        Run.open(run.path).limits  # noqa: B018
