import numpy as np
import pytest

from autocompress import figures
from autocompress.figures.models import StagePoint
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.results import EpochRecord, LayerChange

from made_up_runs import ACCURACY

METRICS = (ACCURACY, LATENCY, PARAMETERS)


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def layer(name, before, after, rank=None, parameters=(40, 30)):
    return LayerChange(
        name=name,
        type="Linear",
        before=before,
        after=after,
        rank=rank,
        parameters_before=parameters[0],
        parameters_after=parameters[1],
        sparsity=0.0,
    )


def epochs(*rows):
    return [
        EpochRecord(stage=stage, epoch=n, train_loss=1.0, valid_loss=2.0, score=score)
        for stage, n, score in rows
    ]


def test_stages_begin_at_the_baseline_and_show_what_is_known():
    points = [
        StagePoint(
            stage="baseline", values={"accuracy": 0.95, "latency_ms": 2, "parameters": 100}
        ),
        StagePoint(stage="train", values={"accuracy": 0.9, "parameters": 100}),
        StagePoint(stage="fold", values={"accuracy": None, "parameters": 50, "latency_ms": 1.0}),
    ]
    made = figures.stages(points, METRICS)
    accuracy, latency, parameters = (list(line.y) for line in made.data)
    assert list(made.data[0].x) == ["baseline", "train", "fold"]
    assert accuracy == [0.95, 0.9, None]
    assert latency == [2.0, None, 1.0]
    assert parameters == [100, 100, 50]


def test_widths_mark_ranks_and_what_could_not_be_cut():
    layers = [layer("a", (10, 4), ((3, 4), (10, 3)), rank=3), layer("b", (5, 10), ((5, 10),))]
    made = figures.widths(layers, {"b": "reaches <the> output"})
    assert (trace(made, "rank").x, trace(made, "rank").y) == ((3,), ("a",))
    kept = trace(made, "kept whole")
    assert (kept.x, kept.y) == ((5,), ("b",))
    assert "reaches &lt;the&gt; output" in kept.text[0]


def test_widths_show_layers_before_and_after():
    layers = [
        layer("conv", (8, 3, 3, 3), ((5, 3, 3, 3),), parameters=(216, 135)),
        layer("gone", (4, 4), (), parameters=(20, 0)),
    ]
    made = figures.widths(layers)
    assert [list(t.x) for t in made.data] == [[8, 4], [5, 0], [216, 20], [135, 0]]


def test_curve_counts_epochs_through_all_stages():
    points = epochs(("train", 1, 0.5), ("train", 2, 0.7), ("recover", 1, 0.8))
    made = figures.curve(points, ACCURACY)
    assert list(trace(made, "train").x) == [1, 2]
    assert list(trace(made, "recover").x) == [3]
    assert list(trace(made, "recover").y) == [0.8]
    assert made.layout.yaxis.title.text == "accuracy"


@pytest.mark.parametrize(
    ("sparsity", "shown"),
    [(0.8, [0.8]), ([0.2, 0.5, 0.8], [0.2, 0.5, 0.8]), ({"a": 0.2, "b": 0.6}, [0.4])],
)
def test_the_schedule_of_the_recipe_is_drawn_under_the_score(sparsity, shown):
    points = epochs(("train", 1, 0.5), ("train", 2, 0.5), ("recover", 1, 0.5))
    settings = {"sparsity": sparsity, "schedule": "linear", "start": 0.0, "end": 0.5}
    recipe = {"sparsification": settings, "training": {"epochs": 2}}
    made = figures.curve(points, ACCURACY, recipe)
    levels = [t for t in made.data if t.name.startswith("sparsity")]
    assert [level.y[-1] for level in levels] == pytest.approx(shown)
    half = list(levels[-1].x).index(0.5)
    assert levels[-1].y[half] == pytest.approx(shown[-1] / 2)
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
        figures.curve([], ACCURACY),
        figures.latency({}),
        figures.stages([StagePoint(stage="baseline", values={})], METRICS),
    ],
)
def test_figures_of_nothing_say_so(made):
    assert len(made.layout.annotations) == 1


def test_a_schedule_that_is_not_known_here_is_not_drawn():
    settings = {"sparsity": 0.8, "schedule": "of_a_plugin"}
    made = figures.curve(epochs(("train", 1, 0.5)), ACCURACY, {"sparsification": settings})
    assert not [t for t in made.data if t.name.startswith("sparsity")]
    assert np.isfinite(made.data[0].y[0])
