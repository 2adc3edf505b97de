import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from autocompress import figures
from autocompress.figures.hypervolume import dominated_volume, volumes_over_time
from autocompress.figures.metrics import columns

from made_up_runs import BASELINE, made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "made_up"
    return made_up_run(home, complete=20, stopped=3, harvested=4, running=1)


@pytest.fixture(scope="module")
def table(run):
    return run.table()


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def drawn(figure):
    """Trials by the kind of trace that shows them."""
    shown = [t for t in figure.data if t.mode == "markers" and "rows" in (t.meta or {})]
    return {t.meta["kind"]: sorted(t.customdata) for t in shown}


def reason(figure):
    return figure.layout.annotations[0].text if figure.layout.annotations else None


def infeasible(table):
    return table.assign(feasible=False, on_front=False)


def missing(table):
    """Only what every version of a run's table has had."""
    kept = ["trial", "state", "on_front", "feasible", "accuracy", "latency_ms", "parameters"]
    return table[[*kept, "started", "finished"]]


def many(table):
    complete = table[table["state"] == "complete"]
    made = pd.concat([complete] * (10_000 // len(complete) + 1), ignore_index=True)[:10_000]
    return made.assign(trial=range(10_000), on_front=made.index < 50)


TABLES = {  # name -> a known table, from the run's
    "empty": lambda table: table[:0],
    "without columns": lambda table: pd.DataFrame(),
    "only one that runs": lambda table: table[table["state"] == "running"],
    "only failures": lambda table: table[table["state"] == "failed"],
    "without metrics": lambda table: pd.DataFrame({"trial": [0], "state": ["failed"]}),
    "one trial": lambda table: table[table["on_front"]][:1],
    "all infeasible": lambda table: infeasible(table[table["state"] == "complete"]),
    "missing fields": missing,
    "10,000 trials": many,
}
NOTHING = ("empty", "without columns", "only one that runs", "only failures", "without metrics")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("draw", [figures.pareto, figures.pareto_3d])
def test_every_complete_trial_is_drawn_once_as_what_it_is(draw, name, run, table):
    known = TABLES[name](table)
    made = draw(known, run.baseline)
    if name in NOTHING:
        assert reason(made) == "no trial is complete yet"
        return
    complete = known[known["state"] == "complete"]
    expected = {
        "front": complete[complete["on_front"] & complete["feasible"]],
        "dominated": complete[~complete["on_front"] & complete["feasible"]],
        "infeasible": complete[~complete["feasible"]],
    }
    shown = drawn(made)
    assert {kind: shown.get(kind, []) for kind in expected} == {
        kind: sorted(rows["trial"]) for kind, rows in expected.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_study_of_any_kind_is_drawn(name, run, table):
    known = TABLES[name](table)
    complete = 0 if name in NOTHING else int((known["state"] == "complete").sum())
    history, parallel = figures.history(known, run.baseline), figures.parallel(known)
    if complete:
        assert len(history.data[0].y) == known["finished"].notna().sum()
        assert {len(d["values"]) for d in parallel.data[0].dimensions} == {complete}
    else:
        assert reason(history) == reason(parallel) == "no trial is complete yet"
    slices = sum(len(box.y) for box in figures.slices(known).data)
    knobs = 3 if complete > 1 and name != "missing fields" else 0
    assert slices == knobs * complete
    boxes = figures.slices(known).data
    assert {box.boxpoints for box in boxes} <= {"all" if complete < 2_000 else False}
    bars = sum(len(bar.x) for bar in figures.timeline(known).data)
    began = known["started"].notna() if "started" in known else pd.Series(dtype=bool)
    if "harvested_from" in known:
        began &= known["harvested_from"].isna()
    assert bars == began.sum()


def test_the_baseline_is_a_star_on_the_line_of_no_loss(run, table):
    made = figures.pareto(table, run.baseline)
    star = trace(made, "baseline")
    assert star.marker.symbol == "star"
    assert (star.x[0], star.y[0]) == (BASELINE["latency_ms"], BASELINE["accuracy"])
    line = next(shape for shape in made.layout.shapes if shape.label.text == "no loss")
    assert line.y0 == line.y1 == BASELINE["accuracy"]


def test_the_line_joins_the_best_in_both_metrics_only(run, table):
    made = figures.pareto(table, run.baseline)
    line = next(t for t in made.data if t.mode == "lines")
    points = [(t.metrics["latency_ms"], t.metrics["accuracy"]) for t in run.front()]
    best = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert list(zip(line.x, line.y, strict=True)) == sorted(best)


def test_error_bars_of_accuracy_are_wilson_intervals(run, table):
    front = trace(figures.pareto(table, run.baseline), "front")
    images = BASELINE["valid_images"]
    exact = table.assign(accuracy=(table["accuracy"] * images).round() / images)
    found = columns(exact, run.baseline)["accuracy"]
    for row in front.meta["rows"]:
        interval = binomtest(round(found.values[row] * images), images).proportion_ci(
            method="wilson"
        )
        assert (found.low[row], found.high[row]) == pytest.approx((interval.low, interval.high))
    shown = columns(table, run.baseline)["accuracy"]
    above = [shown.high[row] - shown.values[row] for row in front.meta["rows"]]
    assert list(front.error_y.array) == pytest.approx(above)


def test_error_bars_of_latency_are_its_10th_to_90th_percentile(run, table):
    front = trace(figures.pareto(table, run.baseline), "front")
    metrics = [run.trial(int(number)).metrics for number in front.customdata]
    for at, own in enumerate(metrics):
        assert front.x[at] + front.error_x.array[at] == pytest.approx(own["latency_ms_p90"])
        assert front.x[at] - front.error_x.arrayminus[at] == pytest.approx(own["latency_ms_p10"])


def test_parameters_have_no_error_bars_and_a_logarithmic_axis(run, table):
    made = figures.pareto(table, run.baseline, x="parameters", third="latency_ms")
    assert trace(made, "front").error_x.array is None
    assert made.layout.xaxis.type == "log"


def test_the_third_metric_is_a_colour_or_a_size(run, table):
    parameters = [t.metrics["parameters"] for t in run.front()]
    colour = trace(figures.pareto(table, run.baseline), "front")
    assert sorted(colour.marker.color) == pytest.approx(sorted(np.log10(parameters)))
    sized = trace(figures.pareto(table, run.baseline, third_as="size"), "front")
    order = np.argsort(sized.marker.size)
    sizes = [run.trial(int(number)).metrics["parameters"] for number in sized.customdata]
    assert np.all(np.diff(np.array(sizes)[order]) > 0)


def test_values_relative_to_the_baseline(run, table):
    made = figures.pareto(table, run.baseline, x="latency_ratio", y="accuracy_change")
    front = trace(made, "front")
    for at, number in enumerate(front.customdata):
        own = run.trial(int(number)).metrics
        change = 100 * (own["accuracy"] - BASELINE["accuracy"])
        assert (front.x[at], front.y[at]) == pytest.approx((own["latency_ratio"], change))
    star = trace(made, "baseline")
    assert (star.x[0], star.y[0]) == (1, 0)


def test_what_a_limit_forbids_is_shaded(run, table):
    limits = {"accuracy": {"least": 0.95}, "latency_ms": {"most": 1.5}}
    made = figures.pareto(table, run.baseline, limits=limits)
    shades = [shape for shape in made.layout.shapes if shape.type == "rect"]
    assert len(shades) == 2
    one = next(shade for shade in shades if shade.yref == "paper")
    assert one.x0 == 1.5 < one.x1
    other = next(shade for shade in shades if shade.xref == "paper")
    assert other.y0 == 0.95 > other.y1


def test_axes_show_the_front_and_the_baseline_and_not_what_is_far(run, table):
    far = table.copy()
    number = table[(table["state"] == "complete") & ~table["on_front"]]["trial"].iloc[0]
    far.loc[far["trial"] == number, "accuracy"] = 0.1
    low, high = figures.pareto(far, run.baseline).layout.yaxis.range
    shown = [t.metrics["accuracy"] for t in run.front()] + [BASELINE["accuracy"]]
    assert 0.8 < low < min(shown)
    assert max(shown) < high < 1.05


def test_harvested_trials_have_a_shape_of_their_own(run, table):
    harvested = {t.number for t in run.trials() if t.harvested_from is not None}
    kinds = set()
    for broken in (table, infeasible(table)):
        for own in figures.pareto(broken, run.baseline).data:
            if own.meta and own.meta["kind"] in ("front", "dominated", "infeasible"):
                symbols = np.broadcast_to(own.marker.symbol, len(own.customdata))
                kinds.add(own.meta["kind"])
                for symbol, number in zip(symbols, own.customdata, strict=True):
                    assert symbol.startswith("diamond") == (number in harvested)
    assert kinds == {"front", "dominated", "infeasible"}


def test_stopped_trials_stand_at_the_best_that_they_could_have_reached(run, table):
    stopped = trace(figures.pareto(table, run.baseline), "stopped early")
    assert len(stopped.x) == 3
    assert set(stopped.y) == {0.96}
    assert "accuracy at most 96.00 %" in stopped.text[0]


def test_a_hover_text_has_number_metrics_with_units_and_the_recipe(run, table):
    front = trace(figures.pareto(table, run.baseline), "front")
    text, number = front.text[0], int(front.customdata[0])
    granularity = run.trial(number).recipe["sparsification"]["granularity"]
    for part in (f"trial {number}<", " %", " ms", "parameters", granularity):
        assert part in text


def test_hover_texts_are_escaped(run, table):
    made = figures.pareto(table.assign(recipe="<b onclick=x>"), run.baseline)
    assert "&lt;b onclick=x&gt;" in trace(made, "front").text[0]


def test_three_objectives_hold_front_and_baseline(run, table):
    made = figures.pareto_3d(table, run.baseline)
    assert len(trace(made, "front").x) == len(run.front())
    assert list(trace(made, "baseline").z) == [BASELINE["accuracy"]]


def test_history_leaves_out_trials_that_have_not_ended(run, table):
    waiting = pd.concat([table, pd.DataFrame({"trial": [99], "state": ["waiting"]})])
    assert 99 not in figures.history(waiting, run.baseline).data[0].x


def test_history_never_falls_and_ends_where_the_front_does(run, table):
    made = figures.history(table, run.baseline)
    line = made.data[0]
    assert all(a <= b for a, b in itertools.pairwise(line.y))
    assert all(a <= b for a, b in itertools.pairwise(line.x))
    alone = figures.history(table[table["on_front"]], run.baseline).data[0]
    assert 0 < line.y[-1] == pytest.approx(alone.y[-1])


def test_more_of_a_knob_is_told_to_be_better_or_worse_for_each_objective():
    rows = [
        ("accuracy", "sparsity", 1.0, -0.9),
        ("latency_ms", "sparsity", 0.6, -0.9),
        ("latency_ms", "scope", 0.4, float("nan")),
    ]
    told = pd.DataFrame(rows, columns=["objective", "knob", "importance", "correlation"])
    accuracy, latency = figures.importance(told).data[:2]
    at = list(accuracy.y).index("sparsity")
    assert accuracy.text[at].startswith("more of it lowers accuracy")
    assert latency.text[at].startswith("more of it lowers latency")
    legend = {bar.name: bar.marker.color for bar in figures.importance(told).data[2:]}
    assert accuracy.marker.color[at] == legend["more is worse"]
    assert latency.marker.color[at] == legend["more is better"]
    assert latency.marker.color[1 - at] == legend["a choice"]


def test_sparsity_matters_and_costs_accuracy(run):
    told = run.importances().set_index(["objective", "knob"])
    for objective in run.objectives:
        assert told.loc[(objective, "sparsity"), "importance"] > 0.3
        assert told.loc[(objective, "sparsity"), "correlation"] < -0.3


def test_workers_are_told_apart_by_their_overlaps(table):
    made = figures.timeline(table)
    lanes = {lane for bar in made.data for lane in bar.y}
    assert lanes == {1, 2}
    for lane in lanes:
        spans = sorted(
            (start, start + length)
            for bar in made.data
            for start, length, own in zip(bar.base, bar.x, bar.y, strict=True)
            if own == lane
        )
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_slices_hold_the_accuracies_of_each_choice(run, table):
    boxes = figures.slices(table).data
    filters = next(box for box in boxes if box.name == "filter")
    own = [t for t in run.trials() if t.state == "complete"]
    accuracies = [t.metrics["accuracy"] for t in own if t.params["granularity"] == "filter"]
    assert sorted(filters.y) == sorted(accuracies)


def test_stages_begin_at_the_baseline_and_show_what_is_known():
    rows = [
        {"stage": "sparsify", "accuracy": 0.9, "parameters": 100},
        {"stage": "fold", "accuracy": None, "parameters": 50, "latency_ms": 1.0},
    ]
    made = figures.stages(rows, {"accuracy": 0.95, "latency_ms": 2.0, "parameters": 100})
    accuracy, latency, parameters = (list(line.y) for line in made.data)
    assert list(made.data[0].x) == ["baseline", "sparsify", "fold"]
    assert accuracy == [0.95, 0.9, None]
    assert latency == [2.0, None, 1.0]
    assert parameters == [100, 100, 50]


def test_widths_mark_ranks_and_what_could_not_be_cut():
    layer = {"type": "Linear", "parameters_before": 40, "parameters_after": 30, "sparsity": 0.0}
    layers = [
        {**layer, "name": "a", "before": [10, 4], "after": [[3, 4], [10, 3]], "rank": 3},
        {**layer, "name": "b", "before": [5, 10], "after": [[5, 10]], "rank": None},
    ]
    made = figures.widths(layers, {"b": "reaches <the> output"})
    assert (trace(made, "rank").x, trace(made, "rank").y) == ((3,), ("a",))
    kept = trace(made, "kept whole")
    assert (kept.x, kept.y) == ((5,), ("b",))
    assert "reaches &lt;the&gt; output" in kept.text[0]


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


@pytest.mark.parametrize("sparsity", [0.8, [0.2, 0.5, 0.8]])
def test_the_schedule_of_the_recipe_is_drawn_under_the_accuracy(sparsity):
    points = [
        {"stage": s, "epoch": n, "train_loss": 1.0, "valid_loss": 2.0, "accuracy": 0.5}
        for s, n in (("sparsify", 1), ("sparsify", 2), ("recover", 1))
    ]
    settings = {"sparsity": sparsity, "schedule": "linear", "start": 0.0, "end": 0.5}
    recipe = {"sparsification": settings, "training": {"epochs": 2}}
    made = figures.curve(points, recipe)
    levels = [t for t in made.data if t.name.startswith("sparsity")]
    assert [level.y[-1] for level in levels] == pytest.approx(np.atleast_1d(sparsity))
    half = list(levels[-1].x).index(0.5)
    assert levels[-1].y[half] == pytest.approx(0.4)
    assert levels[-1].x[-1] == 3


def test_latency_draws_a_box_per_model():
    samples = [float(n) for n in range(101)]
    made = figures.latency({"baseline": samples, "trial <3>": [0.5], "trial 4": []})
    assert [box.name for box in made.data] == ["baseline", "trial &lt;3&gt;"]
    box = made.data[0]
    spread = (box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0])
    assert spread == pytest.approx((10, 25, 50, 75, 90))


@pytest.mark.parametrize(
    "made",
    [
        figures.widths([]),
        figures.curve([]),
        figures.latency({}),
        figures.stages([], BASELINE),
        figures.importance(pd.DataFrame()),
    ],
)
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
