"""The metrics of a run as columns that can stand on any axis: absolute or beside the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autocompress.figures.style import axis_layout, axis_of, colour_bar

Metrics = Mapping[str, Any]
Bounds = Mapping[str, Mapping[str, float]]  # metric -> {"least": ..., "most": ...}

RELATIVE = {  # metric -> what it is beside the baseline
    "accuracy": "accuracy_change",
    "latency_ms": "latency_ratio",
    "parameters": "parameter_ratio",
    "size_bytes": "size_ratio",
    "macs": "mac_ratio",
}
KINDS = ("front", "dominated", "infeasible", "stopped")  # what is drawn, in this order of worth
_PADDING = 0.06  # of what an axis shows, at both ends
_Z = 1.959963984540054  # of a 95 % interval


@dataclass(frozen=True)
class Column:
    """One metric of all points.

    Attributes:
        values: of each row of the table; NaN where it is not known.
        low: lower ends of error bars, if there are any.
        high: upper ends.
        baseline: the baseline's value.
        bounds: ``least`` and ``most`` that the study's limits allow.
        layout: plotly's settings of an axis that shows it; its range holds the front and the
            baseline, and of the rest what is near.
        colour_bar: plotly's settings of a scale of colours; of logarithms where the axis is.
        higher_is_better: as for accuracies.
    """

    values: list[float]
    low: list[float] | None
    high: list[float] | None
    baseline: float | None
    bounds: Mapping[str, float]
    layout: Mapping[str, Any]
    colour_bar: Mapping[str, Any]
    higher_is_better: bool
    title: str = field(default="")

    def plain(self) -> dict[str, Any]:
        """Return plain data; what is not known is None."""
        lists = {name: _without_nan(getattr(self, name)) for name in ("values", "low", "high")}
        return {**vars(self), **lists}


def _without_nan(values: list[float] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [None if math.isnan(value) else value for value in values]


def kinds(table: pd.DataFrame) -> "pd.Series[str]":
    """Return for each row one of ``KINDS``, or an empty text for what is not drawn.

    ``stopped`` are trials that early stopping ended: they are drawn at the highest accuracy that
    they could still have reached, at the latency and size of their draft.
    """
    found = pd.Series("", index=table.index, dtype=object)
    if not {"state", "feasible", "on_front"} <= set(table.columns):
        return found
    complete, feasible = table["state"] == "complete", table["feasible"].astype(bool)
    found[complete & ~feasible] = "infeasible"
    found[complete & feasible] = "dominated"
    found[complete & feasible & table["on_front"].astype(bool)] = "front"
    if "predicted_accuracy" in table:
        found[(table["state"] == "pruned") & table["predicted_accuracy"].notna()] = "stopped"
    return found


def columns(
    table: pd.DataFrame, baseline: Metrics, limits: Bounds | None = None
) -> dict[str, Column]:
    """Return every metric that the table and the baseline have, absolute and relative.

    Error bars: 95 % Wilson intervals of accuracies (Wilson 1927), where the baseline tells how
    many images there are (``valid_images``); 10th to 90th percentile of a call's latency.

    Args:
        table: one row per trial, as ``Run.table`` returns them.
        baseline: its metrics, as ``Run.baseline``; may be empty.
        limits: bounds of metrics, as ``Run.limits``.
    """
    made: dict[str, Column] = {}
    on_front = (kinds(table) == "front").to_numpy()
    for metric, relative in RELATIVE.items():
        if metric not in table:
            continue
        values = _numbers(table[metric])
        if metric == "accuracy" and "predicted_accuracy" in table:
            predicted = _numbers(table["predicted_accuracy"])
            values = np.where(np.isnan(predicted), values, predicted)
        low, high = _spread(metric, values, table, baseline)
        known = baseline.get(metric)
        bounds = dict((limits or {}).get(metric, {}))
        made[metric] = _column(metric, (values, low, high), known, bounds, on_front)
        if known:
            beside = _beside(metric, known)
            spread = [None if part is None else beside(part) for part in (values, low, high)]
            own = {name: float(beside(np.array(bound))) for name, bound in bounds.items()}
            at = float(beside(np.array(known)))
            made[relative] = _column(relative, tuple(spread), at, own, on_front)
    return made


def _column(
    metric: str,
    spread: tuple[Any, ...],
    baseline: float | None,
    bounds: Mapping[str, float],
    on_front: Any,
) -> Column:
    values, low, high = spread
    shown = [float(value) for value in values if not math.isnan(value)]
    layout = axis_layout(metric, [*shown, baseline])
    logarithmic = layout.get("type") == "log"
    always = [*values[on_front], *([] if baseline is None else [baseline])]
    bars = [v for part in (low, high) if part is not None for v in part[on_front]]
    return Column(
        values=_floats(values),
        low=None if low is None else _floats(low),
        high=None if high is None else _floats(high),
        baseline=baseline,
        bounds=bounds,
        layout={**layout, "range": _range(always, [*shown, *bars], logarithmic=logarithmic)},
        colour_bar=colour_bar(metric, shown, logarithmic=logarithmic),
        higher_is_better=axis_of(metric).higher_is_better,
        title=axis_of(metric).title,
    )


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def _range(
    always: Sequence[float], others: Sequence[float], *, logarithmic: bool
) -> list[float] | None:
    """Return the ends of an axis: all of ``always``, and of the rest what is near it."""
    first, second = (
        np.array([v for v in part if not math.isnan(v) and (v > 0 or not logarithmic)])
        for part in (always, others)
    )
    if not len(first):
        first = second
    if not len(first):
        return None
    if logarithmic:
        first, second = np.log10(first), np.log10(second)
    low, high = first.min(), first.max()
    span = (high - low) or 0.1 * abs(high) or 1.0
    near = second[(second >= low - span / 2) & (second <= high + span / 2)]
    low, high = min([low, *near]), max([high, *near])
    pad = _PADDING * ((high - low) or span)
    return [float(low - pad), float(high + pad)]


def _beside(metric: str, baseline: float) -> Any:
    if metric == "accuracy":
        return lambda values: 100 * (values - baseline)
    return lambda values: values / baseline


def _spread(metric: str, values: Any, table: pd.DataFrame, baseline: Metrics) -> tuple[Any, Any]:
    if metric == "accuracy" and baseline.get("valid_images"):
        return wilson(values, int(baseline["valid_images"]))
    if metric == "latency_ms" and {"latency_ms_p10", "latency_ms_p90"} <= set(table.columns):
        return _numbers(table["latency_ms_p10"]), _numbers(table["latency_ms_p90"])
    return None, None


def _numbers(column: "pd.Series[Any]") -> Any:
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)


def wilson(shares: Any, n: int) -> tuple[Any, Any]:
    """Return the 95 % interval of shares of ``n`` images (Wilson 1927).

    Args:
        shares: in [0, 1].
        n: images, at least 1.
    """
    shares = np.asarray(shares, dtype=float)
    centre = (shares + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(shares * (1 - shares) / n + (_Z / (2 * n)) ** 2)
    return centre - half, centre + half
