import itertools

import numpy as np
import pandas as pd
import pytest

from autocompress import figures
from autocompress.figures.parameters import importance_of
from autocompress.figures.view import view_of
from autocompress.figures.volume import covered_volume, unit_point, volumes_over_time
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.metric import LATENCY

from made_up_runs import ACCURACY, BASELINE, FIVE, made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "made_up"
    return made_up_run(home, complete=20, stopped=3, derived=4, running=1)


def test_history_leaves_out_trials_that_have_not_ended(run):
    running = next(t.number for t in run.trials() if t.finished is None)
    shown = figures.history(run).data[0].customdata
    assert running not in shown
    assert len(shown) == len(run.trials()) - 1


def test_history_never_falls_and_ends_where_the_front_does(run):
    line = figures.history(run).data[0]
    assert all(a <= b for a, b in itertools.pairwise(line.y))
    assert all(a <= b for a, b in itertools.pairwise(line.x))
    front = [trial.metrics for trial in run.front()]
    assert 0 < line.y[-1] == pytest.approx(covered_volume(front, run.baseline, run.objectives))


def test_history_covers_as_many_objectives_as_there_are(tmp_path):
    run = made_up_run(tmp_path / "five", complete=12, objectives=FIVE)
    line = figures.history(run).data[0]
    assert 0 < line.y[-1] < 1
    assert all(a <= b for a, b in itertools.pairwise(line.y))


def test_more_of_a_parameter_is_better_or_worse_for_each_objective():
    rows = [
        ("accuracy", "sparsity", 1.0, -0.9),
        ("latency_ms", "sparsity", 0.6, -0.9),
        ("latency_ms", "scope", 0.4, float("nan")),
    ]
    table = pd.DataFrame(rows, columns=["objective", "parameter", "importance", "correlation"])
    made = importance_of(table, (ACCURACY, LATENCY))
    accuracy, latency = made.data[:2]
    at = list(accuracy.y).index("sparsity")
    assert accuracy.text[at].startswith("more of it lowers accuracy")
    assert latency.text[at].startswith("more of it lowers latency")
    legend = {bar.name: bar.marker.color for bar in made.data[2:]}
    assert accuracy.marker.color[at] == legend["more is worse"]
    assert latency.marker.color[at] == legend["more is better"]
    assert latency.marker.color[1 - at] == legend["a choice"]


def test_sparsity_matters_and_costs_accuracy(run):
    found = run.importances().set_index(["objective", "parameter"])
    for metric in run.objectives:
        assert found.loc[(metric.name, "sparsity"), "importance"] > 0.3
        assert found.loc[(metric.name, "sparsity"), "correlation"] < -0.3
    bars = figures.importance(run).data[: len(run.objectives)]
    assert all(bar.y[np.argmax(bar.x)] == "sparsity" for bar in bars)


def test_workers_are_recognised_by_their_overlaps(run):
    made = figures.timeline(run)
    lanes = {lane for bar in made.data for lane in bar.y}
    assert lanes == {1, 2}
    for lane in lanes:
        spans = sorted(
            (start, start + length)
            for bar in made.data
            for start, length, own in zip(bar.base, bar.x, bar.y, strict=True)
            if own == lane
        )
        assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(spans))


def test_slices_hold_the_scores_of_each_choice(run):
    boxes = figures.slices(run).data
    filters = next(box for box in boxes if box.name == "filter")
    own = [t for t in run.trials() if t.state == "complete"]
    scores = [t.metrics["accuracy"].value for t in own if t.params["granularity"] == "filter"]
    assert sorted(filters.y) == sorted(scores)
    assert not figures.slices(run, ["fold", "no_such"]).data


def test_lines_run_through_what_varied_and_through_the_objectives(run):
    (lines,) = figures.parallel(run).data
    labels = [dimension["label"] for dimension in lines.dimensions]
    assert labels[-3:] == ["accuracy", "latency (ms)", "parameters"]
    assert "sparsity" in labels
    assert "fold" not in labels


def test_figures_of_nothing_say_so():
    columns = ["objective", "parameter", "importance", "correlation"]
    made = importance_of(pd.DataFrame(columns=columns), (ACCURACY,))
    assert len(made.layout.annotations) == 1


def test_a_point_counts_from_90_percent_of_the_baseline_on():
    speed = Metric(name="images_per_s", direction="maximize")
    error = Metric(name="error", direction="minimize", format="fraction", comparison="difference")
    baseline = {**BASELINE, "images_per_s": Estimate(value=100), "error": Estimate(value=0.018)}
    objectives = (ACCURACY, LATENCY, speed, error)

    def point(**values):
        found = {name: Estimate(value=value) for name, value in values.items()}
        return unit_point(found, baseline, objectives)

    at_worst = point(accuracy=0.9 * 0.982, latency_ms=2.0, images_per_s=90, error=1 - 0.9 * 0.982)
    assert at_worst == pytest.approx([1, 1, 1, 1])
    better = point(accuracy=1.0, latency_ms=1.0, images_per_s=900, error=0.0)
    assert better == pytest.approx([0, 0.5, 0.1, 0])
    assert point(accuracy=1.0) is None


def test_volume_in_closed_form():
    assert list(volumes_over_time([None, (0.5, 0.5, 0.5), (0.9, 0.9, 0.9)], 3)) == [
        0,
        0.125,
        0.125,
    ]
    half = {"latency_ms": Estimate(value=1.0)}
    assert covered_volume([half], BASELINE, (LATENCY,)) == 0.5
    assert covered_volume([], BASELINE, (LATENCY,)) == 0
    assert covered_volume([half], BASELINE, (LATENCY, ACCURACY)) == 0


def test_a_view_of_a_run_is_that_run(run):
    view = view_of(run)
    assert view_of(view) is view
    assert [view.trials[n].number for n in view.front] == [t.number for t in run.front()]
