from dataclasses import replace

import pytest

from autocompress.dashboard.tradeoff import card, tradeoff
from autocompress.figures.view import view_of
from autocompress.metrics import Estimate

from made_up_runs import FIVE, FOUR, ONE, THREE, TWO, made_up_run


@pytest.fixture(scope="module", params=[ONE, TWO, THREE, FOUR, FIVE], ids=len)
def run(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "run"
    return made_up_run(home, complete=24, stopped=2, objectives=request.param)


@pytest.fixture(scope="module")
def found(run):
    return tradeoff(view_of(run))


def test_the_first_of_each_ranking_is_the_pick(run, found):
    first = {ranking.how: found.trial[ranking.rows[0]] for ranking in found.rankings}
    assert first == {how: trial.number for how, trial in run.picks().items()}
    front = sorted(trial.number for trial in run.front())
    assert all(sorted(found.trial[r] for r in own.rows) == front for own in found.rankings)


def test_within_any_bound_the_first_of_a_ranking_is_the_pick(run, found):
    for slider in found.sliders:
        metric = run.metrics[slider.metric]
        for step in slider.steps:
            budget = {slider.metric: step.value}
            costs = [v and metric.sign * v for v in found.columns[slider.metric].values]
            bound = metric.sign * step.value
            for ranking in found.rankings:
                within = [row for row in ranking.rows if costs[row] <= bound]
                if within:
                    assert found.trial[within[0]] == run.pick(ranking.how, budget).number
                else:
                    assert not run.front(budget)


def test_each_objective_has_a_slider(run, found):
    assert [slider.metric for slider in found.sliders] == [m.name for m in run.objectives]
    for slider, metric in zip(found.sliders, run.objectives, strict=True):
        assert slider.way == {"minimize": "most", "maximize": "least"}[metric.direction]
        assert slider.text == f"{metric.title} at {slider.way}"
        values = [step.value for step in slider.steps]
        assert values == sorted(set(values))


def test_every_edge_holds_what_is_not_dominated_in_two_metrics(run, found):
    front = {t.number: t.metrics for t in run.front()}
    for x, others in found.edges.items():
        for y, edge in others.items():
            signs = run.metrics[x].sign, run.metrics[y].sign
            points = {
                n: (signs[0] * m[x].value, signs[1] * m[y].value)
                for n, m in front.items()
                if x in m and y in m
            }
            best = {
                p
                for p in points.values()
                if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points.values())
            }
            shown = [points[found.trial[row]] for row in edge]
            assert set(shown) == best
            assert shown == sorted(shown)


def test_columns_hold_what_an_axis_needs(run, found):
    rows = len(run.trials())
    for name, column in found.columns.items():
        assert len(column.values) == rows, name
        assert column.layout["title"]["text"] == column.title
        assert (column.above is None) == (column.below is None)
        for marker in column.markers.values():
            shown = marker["size"] if "size" in marker else marker["color"]
            assert len(shown) == len(run.front())
    limited = [name for name, column in found.columns.items() if column.shapes["x"]]
    assert limited == ["accuracy", "accuracy_change"]
    lines = [name for name, c in found.columns.items() if len(c.shapes["y"]) > len(c.shapes["x"])]
    assert lines == ["accuracy", "accuracy_change"]


def test_choices_name_their_relative_columns(found):
    for choice in found.choices:
        assert choice.name in found.columns
        assert choice.relative in found.columns
    assert {found.axes[axis] for axis in ("x", "y")} <= {choice.name for choice in found.choices}


def test_a_card_has_values_and_ratios_to_the_baseline(run):
    view, trial = view_of(run), run.front()[0]
    lines = card(view, trial)
    assert lines[0].startswith(f"accuracy {100 * trial.metrics['accuracy'].value:.2f} % (")
    assert lines[0].endswith(" points)")
    ratios = [metric for metric in run.objectives if metric.comparison == "ratio"]
    assert lines[1:] == ([lines[1]] if ratios else [])
    assert all(metric.title in lines[1] for metric in ratios)


def test_a_card_without_a_baseline_has_values(run):
    view, trial = replace(view_of(run), baseline={}), run.front()[0]
    assert len(card(view, trial)) == len(run.objectives)


def test_a_metric_that_never_varies_has_no_slider(run):
    view = view_of(run)
    name = run.objectives[-1].name
    trials = tuple(
        replace(t, metrics={**t.metrics, name: Estimate(value=1.0)}) if t.metrics else t
        for t in view.trials
    )
    sliders = tradeoff(replace(view, trials=trials)).sliders
    assert name not in [slider.metric for slider in sliders]
