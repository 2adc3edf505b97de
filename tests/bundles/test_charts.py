"""Pictures of a model card: well-formed SVG that shows every epoch and every layer."""

from xml.etree import ElementTree

import pytest

from autocompress.bundles.charts import curve_svg, layers_svg
from autocompress.results import EpochRecord, LayerChange

from little_bundles import ACCURACY

SVG = "{http://www.w3.org/2000/svg}"


def record(stage, epoch, score):
    return EpochRecord(stage=stage, epoch=epoch, train_loss=0.0, valid_loss=0.0, score=score)


def layer(name, before, after):
    return LayerChange(
        name=name, type="Linear", before=(before, 1), after=((after, 1),), rank=None,
        parameters_before=before, parameters_after=after, sparsity=0.0,
    )  # fmt: skip


def parsed(text):
    root = ElementTree.fromstring(text)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    return root, texts


def test_a_curve_has_a_point_for_each_epoch_and_a_line_for_each_stage():
    curve = [record("train", 1, 0.5), record("train", 2, 0.7), record("recover", 1, 0.8)]
    root, texts = parsed(curve_svg(curve, ACCURACY, 0.9))
    points = [float(circle.get("cy")) for circle in root.iter(f"{SVG}circle")]
    assert len(points) == 3
    assert points == sorted(points, reverse=True)  # higher scores are higher up
    assert len(list(root.iter(f"{SVG}polyline"))) == 2
    assert {"train", "recover", "baseline (dashed)", "accuracy on valid", "50.0%"} <= set(texts)


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.0, 0.0], [float("nan"), 0.2]])
def test_a_curve_of_few_or_equal_scores_can_be_drawn(scores):
    curve = [record("train", n, score) for n, score in enumerate(scores)]
    root, _ = parsed(curve_svg(curve, ACCURACY, None))
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")


def test_layers_have_two_bars_that_show_their_parameters():
    root, texts = parsed(layers_svg([layer("a<b", 1000, 10), layer("gone", 100, 0)]))
    widths = [rect.get("width") for rect in root.iter(f"{SVG}rect")]
    bars = [float(width) for width in widths if width != "100%"]
    assert len(bars) == 4
    assert bars[0] == pytest.approx(3 * bars[1], abs=0.2)  # logarithmic: 1000 and 10 to 3 and 1
    assert bars[3] == 0
    assert {"a<b", "gone", "1.00 k", "parameters"} <= set(texts)
