from dataclasses import replace

import numpy as np
import pytest

from autocompress import figures
from autocompress.errors import UsageError
from autocompress.figures.columns import columns
from autocompress.figures.view import KINDS, default_axes, view_of
from autocompress.metrics import Estimate

from made_up_runs import BASELINE, FOUR, ONE, TWO, made_up_run

ACCURACY, LATENCY_MS = BASELINE["accuracy"].value, BASELINE["latency_ms"].value


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "made_up"
    return made_up_run(home, complete=20, stopped=3, derived=4, running=1)


@pytest.fixture(scope="module")
def view(run):
    return view_of(run)


@pytest.fixture(scope="module")
def energetic(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "energetic"
    return made_up_run(home, complete=20, objectives=FOUR)


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def drawn(figure):
    """Trials by the kind of trace that shows them."""
    shown = [t for t in figure.data if t.mode == "markers" and "rows" in (t.meta or {})]
    return {t.meta["kind"]: sorted(t.customdata) for t in shown}


def reason(figure):
    return figure.layout.annotations[0].text if figure.layout.annotations else None


def with_trials(view, trials, *, on_front=None):
    """A view of other trials, numbered anew."""
    numbered = tuple(replace(trial, number=n) for n, trial in enumerate(trials))
    front = [n for n, trial in enumerate(trials) if trial.number in view.front]
    return replace(view, trials=numbered, front=tuple(front if on_front is None else on_front))


def of_state(*states):
    return lambda view: with_trials(view, [t for t in view.trials if t.state in states])


def infeasible(view):
    trials = [replace(trial, feasible=False) for trial in view.trials]
    return with_trials(view, [t for t in trials if t.state == "complete"], on_front=[])


def without_intervals(view):
    def bare(metrics):
        return {name: Estimate(value=found.value) for name, found in metrics.items()}

    trials = [replace(trial, metrics=bare(trial.metrics)) for trial in view.trials]
    return with_trials(replace(view, baseline=bare(view.baseline)), trials)


def many(view):
    complete = [trial for trial in view.trials if trial.state == "complete"]
    trials = (complete * 10_000)[:10_000]
    front = [n for n, trial in enumerate(trials[:50]) if trial.feasible]
    return with_trials(view, trials, on_front=front)


VIEWS = {
    "empty": lambda view: with_trials(view, []),
    "only one that runs": of_state("running"),
    "only failures": of_state("failed"),
    "one trial": lambda view: with_trials(view, [view.trials[view.front[0]]]),
    "all infeasible": infeasible,
    "without intervals": without_intervals,
    "without a baseline": lambda view: replace(view, baseline={}),
    "10,000 trials": many,
}
NOTHING = ("empty", "only one that runs", "only failures")


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("draw", [figures.pareto, figures.pareto_3d])
def test_every_complete_trial_is_drawn_once_as_what_it_is(draw, name, view):
    known = VIEWS[name](view)
    made = draw(known)
    if name in NOTHING:
        assert reason(made) == "no trial is complete yet"
        return
    complete = {t.number for t in known.trials if t.state == "complete" and t.feasible}
    expected = {
        "front": set(known.front),
        "dominated": complete - set(known.front),
        "infeasible": {t.number for t in known.trials if t.state == "complete"} - complete,
    }
    shown = drawn(made)
    assert {kind: shown.get(kind, []) for kind in expected} == {
        kind: sorted(numbers) for kind, numbers in expected.items()
    }


@pytest.mark.parametrize("name", VIEWS)
def test_a_study_of_any_kind_is_drawn(name, view):
    known = VIEWS[name](view)
    complete = 0 if name in NOTHING else len(known.complete)
    history, parallel = figures.history(known), figures.parallel(known)
    if complete and known.baseline:
        ended = sum(t.finished is not None for t in known.trials)
        assert len(history.data[0].y) == ended
    else:
        assert reason(history) == "no trial is complete yet"
    if complete:
        assert {len(d["values"]) for d in parallel.data[0].dimensions} == {complete}
    else:
        assert reason(parallel) == "no trial is complete yet"
    boxes = figures.slices(known).data
    assert sum(len(box.y) for box in boxes) == (3 if complete > 1 else 0) * complete
    assert {box.boxpoints for box in boxes} <= {"all" if complete < 2_000 else False}
    bars = sum(len(bar.x) for bar in figures.timeline(known).data)
    assert bars == sum(t.started is not None and t.parent is None for t in known.trials)


def test_the_baseline_is_a_star_on_the_line_of_no_loss(run):
    made = figures.pareto(run)
    star = trace(made, "baseline")
    assert star.marker.symbol == "star"
    assert (star.x[0], star.y[0]) == (LATENCY_MS, ACCURACY)
    line = next(shape for shape in made.layout.shapes if shape.label.text == "no loss")
    assert line.y0 == line.y1 == ACCURACY


@pytest.mark.parametrize(
    ("x", "y"), [(None, None), ("parameters", "latency_ms"), ("accuracy", "parameters")]
)
def test_the_line_joins_the_best_in_both_metrics_only(run, x, y):
    made = figures.pareto(run, x=x, y=y)
    line = next(t for t in made.data if t.mode == "lines")
    signs = {"accuracy": -1}
    names = [x or "latency_ms", y or "accuracy"]
    costs = [
        tuple(signs.get(name, 1) * t.metrics[name].value for name in names) for t in run.front()
    ]
    best = [p for p in costs if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in costs)]
    shown = zip(line.x, line.y, strict=True)
    assert [(signs.get(names[0], 1) * a, signs.get(names[1], 1) * b) for a, b in shown] == sorted(
        best
    )


def test_error_bars_are_the_intervals_of_the_estimates(run):
    made = figures.pareto(run)
    front = trace(made, "front")
    metrics = [run.trial(int(number)).metrics for number in front.customdata]
    for at, own in enumerate(metrics):
        for values, bars, name in (
            (front.x, front.error_x, "latency_ms"),
            (front.y, front.error_y, "accuracy"),
        ):
            assert values[at] + bars.array[at] == pytest.approx(own[name].high)
            assert values[at] - bars.arrayminus[at] == pytest.approx(own[name].low)


def test_what_has_no_interval_has_no_error_bars_and_what_spreads_a_logarithmic_axis(run):
    made = figures.pareto(run, x="parameters", third="latency_ms")
    assert trace(made, "front").error_x.visible is False
    assert made.layout.xaxis.type == "log"


def test_the_third_metric_is_a_colour_or_a_size(run):
    parameters = [t.metrics["parameters"].value for t in run.front()]
    colour = trace(figures.pareto(run), "front")
    assert sorted(colour.marker.color) == pytest.approx(sorted(np.log10(parameters)))
    sized = trace(figures.pareto(run, third_as="size"), "front")
    order = np.argsort(sized.marker.size)
    sizes = [run.trial(int(number)).metrics["parameters"].value for number in sized.customdata]
    assert np.all(np.diff(np.array(sizes)[order]) > 0)


def test_values_relative_to_the_baseline(run):
    made = figures.pareto(run, x="latency_ratio", y="accuracy_change")
    front = trace(made, "front")
    for at, number in enumerate(front.customdata):
        own = run.trial(int(number)).metrics
        change = 100 * (own["accuracy"].value - ACCURACY)
        ratio = own["latency_ms"].value / LATENCY_MS
        assert (front.x[at], front.y[at]) == pytest.approx((ratio, change))
    star = trace(made, "baseline")
    assert (star.x[0], star.y[0]) == (1, 0)


def test_what_a_limit_forbids_is_shaded(view):
    limited = replace(view, bounds={"accuracy": 0.95, "latency_ms": 1.5})
    for x, y, bounds in (
        ("latency_ms", "accuracy", (1.5, 0.95)),
        ("latency_ratio", "accuracy_change", (1.5 / LATENCY_MS, 100 * (0.95 - ACCURACY))),
    ):
        made = figures.pareto(limited, x=x, y=y)
        shades = [shape for shape in made.layout.shapes if shape.type == "rect"]
        assert len(shades) == 2
        one = next(shade for shade in shades if shade.yref == "paper")
        assert one.x0 == pytest.approx(bounds[0])
        assert one.x0 < one.x1
        other = next(shade for shade in shades if shade.xref == "paper")
        assert other.y0 == pytest.approx(bounds[1])
        assert other.y0 > other.y1


def test_axes_show_the_front_and_the_baseline_and_not_what_is_far(view):
    number = next(n for n, kind in enumerate(view.kinds) if kind == "dominated")
    trials = list(view.trials)
    metrics = {**trials[number].metrics, "accuracy": Estimate(value=0.1)}
    trials[number] = replace(trials[number], metrics=metrics)
    far = replace(view, trials=tuple(trials))
    low, high = figures.pareto(far).layout.yaxis.range
    shown = [view.trials[n].metrics["accuracy"].value for n in view.front] + [ACCURACY]
    assert 0.8 < low < min(shown)
    assert max(shown) < high < 1.05


def test_axes_show_all_trials_where_the_front_is_a_point(view):
    single = with_trials(view, view.trials, on_front=[view.front[-1]])
    low, high = figures.pareto(single).layout.yaxis.range
    values = [t.metrics["accuracy"].value for t in view.trials if "accuracy" in t.metrics]
    assert low < min(values) < max(values) < high


def test_derived_trials_have_a_shape_of_their_own(run, view):
    derived = {t.number for t in run.trials() if t.parent is not None}
    kinds = set()
    broken = replace(view, trials=tuple(replace(t, feasible=False) for t in view.trials), front=())
    for known in (view, broken):
        for own in figures.pareto(known).data:
            if own.meta and own.meta["kind"] in ("front", "dominated", "infeasible"):
                symbols = np.broadcast_to(own.marker.symbol, len(own.customdata))
                kinds.add(own.meta["kind"])
                for symbol, number in zip(symbols, own.customdata, strict=True):
                    assert symbol.startswith("diamond") == (number in derived)
    assert kinds == {"front", "dominated", "infeasible"}


def test_stopped_trials_stand_at_the_best_that_they_could_have_reached(run):
    stopped = trace(figures.pareto(run), "stopped early")
    assert len(stopped.x) == 3
    assert set(stopped.y) == {0.96}
    assert "accuracy at most 96.00 %" in stopped.text[0]


def test_a_hover_text_has_number_metrics_with_units_and_the_recipe(run):
    front = trace(figures.pareto(run), "front")
    text, number = front.text[0], int(front.customdata[0])
    granularity = run.trial(number).recipe["sparsification"]["granularity"]
    for part in (f"trial {number}<", " %", " ms", "parameters", granularity):
        assert part in text


def test_hover_texts_are_escaped(view):
    settings = {"sparsity": 0.5, "granularity": "<b onclick=x>"}
    trials = [replace(t, recipe={"sparsification": settings}) for t in view.trials]
    made = figures.pareto(with_trials(view, trials))
    assert "&lt;b onclick=x&gt;" in trace(made, "front").text[0]


def test_three_objectives_hold_front_and_baseline(run):
    made = figures.pareto_3d(run)
    assert len(trace(made, "front").x) == len(run.front())
    assert list(trace(made, "baseline").z) == [ACCURACY]


@pytest.mark.parametrize(
    ("objectives", "shown"),
    [
        (ONE, ("latency_ms", "accuracy", None)),
        (TWO, ("latency_ms", "accuracy", None)),
        (FOUR, ("latency_ms", "accuracy", "parameters")),
        (("latency_ms", "accuracy"), ("latency_ms", "accuracy", None)),
        (("parameters", "latency_ms", "accuracy"), ("latency_ms", "parameters", "accuracy")),
    ],
)
def test_a_chart_shows_the_first_objectives(view, energetic, objectives, shown):
    known = view_of(energetic)
    chosen = replace(known, objectives=tuple(known.metrics[name] for name in objectives))
    axes = default_axes(chosen)
    assert tuple(metric and metric.name for metric in axes) == shown
    made = figures.pareto(chosen)
    assert trace(made, "baseline").x[0] == known.baseline[shown[0]].value
    assert trace(made, "baseline").y[0] == known.baseline[shown[1]].value
    coloured = isinstance(trace(made, "front").marker.color, tuple)
    assert coloured == (shown[2] is not None)
    assert len(trace(figures.pareto_3d(chosen), "front").x) == len(known.front)


def test_a_metric_of_a_user_is_an_axis_as_any_other(energetic):
    made = figures.pareto(energetic, x="energy_mj", third="latency_ms")
    assert made.layout.xaxis.title.text == "energy (mJ)"
    front = trace(made, "front")
    energies = [energetic.trial(int(n)).metrics["energy_mj"].value for n in front.customdata]
    assert list(front.x) == energies
    assert "energy " in front.text[0]
    assert " mJ" in front.text[0]


def test_a_metric_that_is_not_there_is_a_clear_error(run):
    with pytest.raises(UsageError, match=r"no metric 'latency' to draw \(did you mean 'latency_"):
        figures.pareto(run, x="latency")
    assert set(columns(view_of(run))) >= {"size_bytes", "size_ratio", "test_accuracy"}


def test_values_that_are_no_numbers_are_left_out(view):
    worst = {**view.trials[view.front[0]].metrics, "parameters": Estimate(value=float("inf"))}
    trials = list(view.trials)
    trials[view.front[0]] = replace(trials[view.front[0]], metrics=worst)
    column = columns(replace(view, trials=tuple(trials)))["parameters"]
    assert column.values[view.front[0]] is None
    assert np.all(np.isfinite(column.layout["range"]))


def test_every_kind_has_a_mark(view):
    assert set(view.kinds) <= {*KINDS, ""}
