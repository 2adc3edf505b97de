"""Metrics of a run as columns that any axis can show: as they are, or beside the baseline."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from autocompress.figures.style import VERMILLION
from autocompress.figures.view import View
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.formatting import axis_format, axis_title, short_title, tick
from autocompress.metrics.splits import in_order

Known = float | None
_PADDING = 0.06  # of what an axis shows, at both ends
_FEW = 3  # points of front and baseline, below which an axis shows all trials
_LOG_FROM = 8.0  # largest over smallest value, from which on an axis may be logarithmic


@dataclass(frozen=True)
class Column:
    """One metric of all trials; what is not known is ``None``.

    Attributes:
        metric: what it is.
        relative: whether values are ratios to the baseline's, or differences from it.
        values: of each trial.
        low: lower ends of their intervals.
        high: upper ends.
        baseline: the baseline's value.
        bound: what the limits allow at most, or of a metric that is maximized, at least.
        front: positions of the trials on the front.
        decides: whether it is the task's first score.
    """

    metric: Metric
    relative: bool
    values: tuple[Known, ...]
    low: tuple[Known, ...]
    high: tuple[Known, ...]
    baseline: Known
    bound: Known
    front: tuple[int, ...]
    decides: bool = False

    @property
    def title(self) -> str:
        """Name and unit, for an axis."""
        return axis_title(self.metric, relative=self.relative)

    @property
    def short(self) -> str:
        """The name alone."""
        return short_title(self.metric)

    @cached_property
    def logarithmic(self) -> bool:
        """Whether an axis of it is."""
        positive = [value for value in self._shown if value > 0]
        spread = bool(positive) and max(positive) / min(positive) > _LOG_FROM
        return self.metric.logarithmic and spread and not self._is_difference

    @property
    def _is_difference(self) -> bool:
        return self.relative and self.metric.comparison == "difference"

    @property
    def _shown(self) -> list[float]:
        return _known([*self.values, self.baseline])

    @cached_property
    def layout(self) -> dict[str, Any]:
        """Plotly's settings of an axis: front and baseline, and of the rest what is near."""
        made: dict[str, Any] = {
            "title": {"text": self.title},
            "tickformat": axis_format(self.metric, relative=self.relative),
            "range": self._range,
        }
        return made | ({"type": "log", "dtick": "D2"} if self.logarithmic else {})

    @property
    def _range(self) -> list[float] | None:
        everything = [*self.values, self.baseline]
        always = [*(self.values[i] for i in self.front), self.baseline]
        if len(_known(always)) < _FEW:  # they span too little
            always = everything
        bars = [ends[i] for ends in (self.low, self.high) for i in self.front]
        return _range(self.scaled(always), self.scaled([*everything, *bars]))

    def scaled(self, values: Iterable[Known]) -> list[Known]:
        """Return values as their axis spaces them: their logarithms, if it is logarithmic."""
        if not self.logarithmic:
            return list(values)
        return [None if v is None or v <= 0 else math.log10(v) for v in values]

    @property
    def colour_bar(self) -> dict[str, Any]:
        """Plotly's settings of a scale of colours for ``scaled`` values."""
        made: dict[str, Any] = {
            "title": {"text": self.title, "side": "right"},
            "tickformat": axis_format(self.metric, relative=self.relative),
            "thickness": 10,
            "outlinewidth": 0,
        }
        if self.logarithmic:
            shown = [value for value in self._shown if value > 0]
            first, last = (math.log10(end) for end in (min(shown), max(shown)))
            decades = range(math.floor(first), math.ceil(last))
            ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
            texts = [tick(self.metric, value, relative=self.relative) for value in ticks]
            made |= {"tickvals": [math.log10(v) for v in ticks], "ticktext": texts}
        return made

    def bars(self) -> tuple[list[Known], list[Known]] | None:
        """Return how far intervals reach above and below the values; ``None`` without any."""
        above, below = (
            [None if v is None or end is None else abs(end - v) for v, end in pairs]
            for pairs in (
                zip(self.values, self.high, strict=True),
                zip(self.values, self.low, strict=True),
            )
        )
        return (above, below) if _known(above) and _known(below) else None

    def shapes(self, axis: Literal["x", "y"]) -> list[dict[str, Any]]:
        """Return plotly's shapes of an axis: what a limit forbids, and where nothing is lost."""
        return [*self._shade(axis), *(self._no_loss() if axis == "y" else [])]

    def _shade(self, axis: str) -> list[dict[str, Any]]:
        if self.bound is None:
            return []
        other, bound = "y" if axis == "x" else "x", self.bound
        end = self.metric.sign * max(self.metric.sign * v for v in [*self._shown, bound])
        end += (end - bound) or self.metric.sign * 0.05 * abs(bound)
        return [
            {
                "type": "rect",
                f"{axis}ref": axis,
                f"{other}ref": "paper",
                f"{axis}0": bound,
                f"{axis}1": end,
                f"{other}0": 0,
                f"{other}1": 1,
                "layer": "below",
                "line": {"width": 0},
                "fillcolor": "rgba(213,94,0,0.08)",
            }
        ]

    def _no_loss(self) -> list[dict[str, Any]]:
        if self.baseline is None or not self.decides:
            return []
        line = {"color": VERMILLION, "width": 1, "dash": "dot"}
        label = {"text": "no loss", "textposition": "start", "font": {"size": 11}}
        ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": self.baseline, "y1": self.baseline}
        return [{"type": "line", **ends, "line": line, "label": label, "layer": "below"}]


def relative_name(metric: Metric) -> str:
    """Return the name of a metric beside the baseline: ``latency_ratio``, ``accuracy_change``."""
    return metric.ratio_name if metric.comparison == "ratio" else f"{metric.name}_change"


def columns(view: View) -> dict[str, Column]:
    """Return every metric that is known of a trial or the baseline, absolute and relative."""
    kinds = view.kinds
    front = tuple(index for index, kind in enumerate(kinds) if kind == "front")
    made: dict[str, Column] = {}
    for metric in in_order(view.metrics):
        name = metric.name
        found = [_estimate(view, index, kind, name) for index, kind in enumerate(kinds)]
        own = view.baseline.get(name)
        if own is None and not any(found):
            continue
        absolute = Column(
            metric=metric,
            relative=False,
            values=tuple(_finite(entry.value) if entry else None for entry in found),
            low=tuple(_finite(entry.low) if entry else None for entry in found),
            high=tuple(_finite(entry.high) if entry else None for entry in found),
            baseline=own.value if own else None,
            bound=view.bounds.get(name),
            front=front,
            decides=name == view.score.name,
        )
        made[name] = absolute
        if own is not None and (own.value or metric.comparison == "difference"):
            made[relative_name(metric)] = _beside(absolute, own.value)
    return made


def _estimate(view: View, index: int, kind: str, name: str) -> Estimate | None:
    trial = view.trials[index]
    bound = trial.failure.bound if trial.failure else None
    if kind == "stopped" and name == view.score.name and bound is not None:
        return Estimate(value=bound)
    return trial.metrics.get(name)


def _beside(column: Column, baseline: float) -> Column:
    metric = column.metric
    scale = 100 if metric.comparison == "difference" and metric.format == "fraction" else 1

    def beside(value: Known) -> Known:
        return None if value is None else _finite(scale * metric.beside(value, baseline))

    return Column(
        metric=metric,
        relative=True,
        values=tuple(map(beside, column.values)),
        low=tuple(map(beside, column.low)),
        high=tuple(map(beside, column.high)),
        baseline=beside(column.baseline),
        bound=beside(column.bound),
        front=column.front,
        decides=column.decides,
    )


def _finite(value: Known) -> Known:
    return value if value is not None and math.isfinite(value) else None


def _known(values: Iterable[Known]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _range(always: Sequence[Known], others: Sequence[Known]) -> list[float] | None:
    """Return the ends of an axis: all of ``always``, and of the rest what is near it."""
    first, second = np.array(_known(always)), np.array(_known(others))
    if not len(first):
        first = second
    if not len(first):
        return None
    low, high = first.min(), first.max()
    span = (high - low) or 0.1 * abs(high) or 1.0
    near = second[(second >= low - span / 2) & (second <= high + span / 2)]
    low, high = min([low, *near]), max([high, *near])
    pad = _PADDING * ((high - low) or span)
    return [float(low - pad), float(high + pad)]


def staircase(across: Column, up: Column) -> list[int]:
    """Return the positions of the front that no other of it beats in these two metrics.

    They are ordered from the best to the worst ``across``, so that steps of a horizontal, then a
    vertical line join them.
    """
    signs = across.metric.sign, up.metric.sign
    points = [
        (signs[0] * x, signs[1] * y, index)
        for index in across.front
        if (x := across.values[index]) is not None and (y := up.values[index]) is not None
    ]
    edge, best = [], math.inf
    for _, y, index in sorted(points):
        if y < best:
            best = y
            edge.append(index)
    return edge
