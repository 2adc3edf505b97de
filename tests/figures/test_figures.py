import itertools

import numpy as np
import pandas as pd
import pytest

from autocompress import figures
from autocompress.figures.hypervolume import dominated_volume, volumes_over_time

from made_up_runs import BASELINE, made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "made_up")


@pytest.fixture(scope="module")
def table(run):
    return run.table()


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def test_pareto_shows_every_complete_trial_once(run, table):
    made = figures.pareto(table, run.baseline)
    shown = [
        n for t in made.data if t.mode == "markers" and t.name != "baseline" for n in t.customdata
    ]
    assert sorted(shown) == sorted(table[table["state"] == "complete"]["trial"])
    assert sorted(trace(made, "front").customdata) == sorted(t.number for t in run.front())
    assert list(trace(made, "baseline").x) == [BASELINE["latency_ms"]]


def test_the_line_joins_the_best_in_both_metrics_only(run, table):
    made = figures.pareto(table, run.baseline)
    line = next(t for t in made.data if t.mode == "lines")
    points = [(t.metrics["latency_ms"], t.metrics["accuracy"]) for t in run.front()]
    best = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert list(zip(line.x, line.y, strict=True)) == sorted(best)


def test_error_bars_are_the_interval_of_the_ratio_in_milliseconds(run, table):
    made = figures.pareto(table, run.baseline)
    front = trace(made, "front")
    for number, x, up, down in zip(
        front.customdata, front.x, front.error_x.array, front.error_x.arrayminus, strict=True
    ):
        metrics = run.trial(int(number)).metrics
        reference_ms = metrics["latency_ms"] / metrics["latency_ratio"]
        assert x + up == pytest.approx(metrics["latency_ratio_high"] * reference_ms)
        assert x - down == pytest.approx(metrics["latency_ratio_low"] * reference_ms)


def test_parameters_have_no_error_bars_and_a_logarithmic_axis(run, table):
    made = figures.pareto(table, run.baseline, x="parameters", color="latency_ms")
    assert trace(made, "front").error_x.array is None
    assert made.layout.xaxis.type == "log"


def test_trials_that_break_a_limit_are_marked(run, table):
    changed = table.copy()
    number = run.front()[0].number
    changed.loc[changed["trial"] == number, ["feasible", "on_front"]] = False
    made = figures.pareto(changed, run.baseline)
    assert list(trace(made, "breaks a limit").customdata) == [number]


def test_hover_texts_are_escaped(run, table):
    made = figures.pareto(table.assign(recipe="<b onclick=x>"), run.baseline)
    assert "&lt;b onclick=x&gt;" in trace(made, "front").text[0]


@pytest.mark.parametrize("draw", [figures.pareto, figures.pareto_3d, figures.history])
@pytest.mark.parametrize("baseline", [{}, BASELINE])
def test_a_run_without_a_complete_trial_says_so(draw, baseline):
    for empty in (pd.DataFrame(), pd.DataFrame({"trial": [0], "state": ["failed"]})):
        made = draw(empty, baseline)
        assert "no trial is complete yet" in made.layout.annotations[0].text


def test_three_objectives_hold_front_and_baseline(run, table):
    made = figures.pareto_3d(table, run.baseline)
    assert len(trace(made, "front").x) == len(run.front())
    assert list(trace(made, "baseline").z) == [BASELINE["accuracy"]]


def test_history_leaves_out_trials_that_have_not_ended(run, table):
    waiting = pd.concat([table, pd.DataFrame({"trial": [99], "state": ["waiting"]})])
    assert 99 not in figures.history(waiting, run.baseline).data[0].x


def test_history_never_falls_and_counts_every_trial(run, table):
    line = figures.history(table, run.baseline).data[0]
    assert list(line.x) == list(table["trial"])
    assert all(a <= b for a, b in itertools.pairwise(line.y))
    assert 0 < line.y[-1] < 1


def test_widths_show_layers_before_and_after():
    layers = [
        {
            "name": "conv",
            "type": "Conv2d",
            "before": [8, 3, 3, 3],
            "after": [[5, 3, 3, 3]],
            "rank": None,
            "parameters_before": 216,
            "parameters_after": 135,
            "sparsity": 0.0,
        },
        {
            "name": "gone",
            "type": "Linear",
            "before": [4, 4],
            "after": [],
            "rank": None,
            "parameters_before": 20,
            "parameters_after": 0,
            "sparsity": 0.0,
        },
    ]
    made = figures.widths(layers)
    assert [list(t.x) for t in made.data] == [[8, 4], [5, 0], [216, 20], [135, 0]]


def test_curve_counts_epochs_through_all_stages():
    points = [
        {"stage": s, "epoch": n, "train_loss": 1.0, "valid_loss": 2.0, "accuracy": a}
        for s, n, a in (("sparsify", 1, 0.5), ("sparsify", 2, 0.7), ("recover", 1, 0.8))
    ]
    made = figures.curve(points)
    assert list(trace(made, "sparsify").x) == [1, 2]
    assert list(trace(made, "recover").x) == [3]
    assert list(trace(made, "recover").y) == [0.8]


def test_latency_draws_a_box_per_model():
    samples = [float(n) for n in range(101)]
    made = figures.latency({"baseline": samples, "trial <3>": [0.5], "trial 4": []})
    assert [box.name for box in made.data] == ["baseline", "trial &lt;3&gt;"]
    box = made.data[0]
    spread = (box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0])
    assert spread == pytest.approx((10, 25, 50, 75, 90))


@pytest.mark.parametrize("made", [figures.widths([]), figures.curve([]), figures.latency({})])
def test_figures_of_nothing_say_so(made):
    assert len(made.layout.annotations) == 1


def test_volume_agrees_with_counting_random_points():
    generator = np.random.default_rng(0)
    points = generator.random((7, 3)) * 1.2
    probes = generator.random((200_000, 3))
    counted = (probes[:, None] >= points[None]).all(axis=2).any(axis=1).mean()
    assert dominated_volume(points) == pytest.approx(counted, abs=0.005)


def test_volume_in_closed_form():
    assert dominated_volume(np.array([[0.5, 0.5, 0.5]])) == pytest.approx(0.125)
    assert dominated_volume(np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])) == pytest.approx(0.375)
    assert dominated_volume(np.empty((0, 3))) == 0
    assert dominated_volume(np.array([[0.1, 1.0, 0.1]])) == 0
    assert list(volumes_over_time([None, (0.5, 0.5, 0.5), (0.9, 0.9, 0.9)])) == [0, 0.125, 0.125]
