"""Pictures of a model card, as SVG: a learning curve, and the parameters of each layer."""

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from autocompress.metrics import Metric
from autocompress.metrics.formatting import axis_title, count, tick
from autocompress.results import EpochRecord, LayerChange

CURVE, LAYERS = "curve.svg", "layers.svg"
COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3")
GREY, INK = "#bbbbbb", "#222222"
WIDTH, HEIGHT = 760, 340  # pixels of the curve
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 45  # margins of the curve
NAMES, ROW = 200, 22  # pixels for the names of layers, and for each layer
TICKS = 5


def curve_svg(curve: Sequence[EpochRecord], metric: Metric, baseline: float | None) -> str:
    """Draw the score after each epoch, one line for each stage.

    Args:
        curve: of the training, in order; at least one epoch.
        metric: describes the score.
        baseline: its score, drawn as a dashed line; ``None``: not known.
    """
    scores = [record.score for record in curve if math.isfinite(record.score)]
    low, high, ticks = _axis([*scores, *([] if baseline is None else [baseline])])
    across = (WIDTH - LEFT - RIGHT) / max(1, len(curve) - 1)

    def place(epoch: int, score: float) -> tuple[float, float]:
        down = (high - score) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return LEFT + epoch * across, TOP + down

    parts = [_text(WIDTH / 2, HEIGHT - 8, "epoch", anchor="middle")]
    parts.append(_text(LEFT, 16, f"{axis_title(metric)} on valid"))
    for value in ticks:
        _, y = place(0, value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "#e5e5e5"))
        parts.append(_text(LEFT - 8, y + 4, tick(metric, value), anchor="end"))
    every = max(1, len(curve) // 10)
    for epoch in range(0, len(curve), every):
        x, _ = place(epoch, low)
        parts.append(_text(x, HEIGHT - BOTTOM + 18, str(epoch + 1), anchor="middle"))
    legend: list[tuple[str, str]] = []
    for number, stage in enumerate(dict.fromkeys(record.stage for record in curve)):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            place(epoch, record.score)
            for epoch, record in enumerate(curve)
            if record.stage == stage and math.isfinite(record.score)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        legend.append((stage, colour))
    if baseline is not None:
        _, y = place(0, baseline)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, INK, dashed=True))
        legend.append(("baseline (dashed)", INK))
    return _document(WIDTH, HEIGHT, [*parts, *_legend(legend, WIDTH - RIGHT)])


def layers_svg(layers: Sequence[LayerChange]) -> str:
    """Draw the parameters of each layer before and after, on a logarithmic axis.

    Args:
        layers: at least one, in the order of the rows.
    """
    most = max(layer.parameters_before for layer in layers)
    decades = max(1, math.ceil(math.log10(max(most, 2))))
    height, room = TOP + ROW * len(layers) + BOTTOM, WIDTH - NAMES - RIGHT - 40

    def length(parameters: int) -> float:
        return room * math.log10(max(parameters, 1)) / decades

    parts = []
    for decade in range(decades + 1):
        x = NAMES + room * decade / decades
        parts.append(_line(x, TOP, x, height - BOTTOM, "#e5e5e5"))
        parts.append(_text(x, height - BOTTOM + 18, count(10**decade), anchor="middle"))
    for row, layer in enumerate(layers):
        y = TOP + ROW * row
        parts.append(_text(NAMES - 8, y + 15, layer.name[-28:], anchor="end"))
        parts.append(_bar(y + 3, length(layer.parameters_before), ROW - 6, GREY))
        parts.append(_bar(y + 7, length(layer.parameters_after), ROW - 14, COLOURS[0]))
    parts.append(_text(NAMES + room / 2, height - 8, "parameters", anchor="middle"))
    legend = [("baseline", GREY), ("this model", COLOURS[0])]
    return _document(WIDTH, height, [*parts, *_legend(legend, WIDTH - RIGHT)])


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Return the ends of an axis that holds all values, and round numbers on it."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.05 * max(1.0, abs(low)), high + 0.05 * max(1.0, abs(high))
    rough = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def _legend(entries: Sequence[tuple[str, str]], right: float) -> Iterator[str]:
    x = right
    for name, colour in reversed(entries):
        yield _text(x, 16, name, anchor="end", colour=colour)
        x -= 7.5 * len(name) + 18


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK) -> str:
    colour = "#777777" if colour == GREY else colour
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"{dash}/>'


def _bar(y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{width:.1f}" height="{height}"'
    return f'<rect x="{NAMES}" y="{y:.1f}" {size} fill="{colour}"/>'


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])
