"""Pictures of a model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Data = Mapping[str, Any]
CURVE, LAYERS = "accuracy.png", "layers.png"
BEFORE, AFTER = "#bbbbbb", "#1f77b4"
WIDTH, DPI = 7.0, 120  # inches, pixels per inch
ROW = 0.28  # inches for each layer


def draw_curve(curve: Sequence[Data], baseline: float | None, path: Path) -> None:
    """Draw the accuracy on the validation set after each epoch, as a PNG.

    Args:
        curve: ``stage``, ``epoch`` and ``accuracy`` (in [0, 1]) of each epoch, in order.
        baseline: its accuracy, drawn as a line.
        path: the file.
    """
    figure = Figure(figsize=(WIDTH, WIDTH / 2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    assert isinstance(axes, Axes)
    for stage in dict.fromkeys(point["stage"] for point in curve):
        part = [(x, p["accuracy"]) for x, p in enumerate(curve, start=1) if p["stage"] == stage]
        axes.plot(*zip(*part, strict=True), marker="o", label=stage)
    if baseline is not None:
        axes.axhline(baseline, color="black", linestyle="--", label="baseline")
    axes.set(xlabel="epoch", ylabel="accuracy on the validation set")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    figure.savefig(path)


def draw_layers(layers: Sequence[Data], path: Path) -> None:
    """Draw the parameters of each layer before and after, as a PNG.

    Args:
        layers: what ``compare_layers`` returned.
        path: the file.
    """
    figure = Figure(figsize=(WIDTH, 1 + ROW * len(layers)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    assert isinstance(axes, Axes)
    names = [layer["name"] for layer in layers]
    before = [layer["parameters_before"] for layer in layers]
    axes.barh(names, before, color=BEFORE, label="baseline")
    after = [layer["parameters_after"] for layer in layers]
    axes.barh(names, after, height=0.5, color=AFTER, label="this model")
    axes.invert_yaxis()
    axes.set(xlabel="parameters", xscale="log")
    axes.legend()
    figure.savefig(path)
