"""What a figure tells of the trials that it draws as points."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from autocompress.figures.metrics import Column
from autocompress.figures.style import BLUE, FAINT, GREY, ORANGE, SCALE
from autocompress.wording import count, milliseconds, percent, ratio, ratio_interval

Metrics = Mapping[str, Any]
Records = Sequence[Mapping[Any, Any]]  # rows of a table
OBJECTIVES = ("accuracy", "latency_ms", "parameters")
MANY = 2_000  # points, from which on WebGL draws them, or not each one is drawn
NOTHING = "no trial is complete yet"
MARKS: Mapping[str, tuple[str, dict[str, Any]]] = {  # kind -> name in the legend, marker
    "front": ("front", {"size": 13, "color": BLUE, "line": {"color": "white", "width": 1}}),
    "dominated": ("dominated", {"size": 7, "color": FAINT}),
    "infeasible": ("breaks a limit", {"size": 8, "color": ORANGE, "symbol": "x-thin-open"}),
    "stopped": ("stopped early", {"size": 8, "color": GREY, "symbol": "triangle-down-open"}),
}
HARVESTED = "harvested"
_SIZES = (8.0, 26.0)  # pixels, of the smallest and the largest value


def rows_of(kind: "pd.Series[str]", name: str) -> list[int]:
    """Return the positions of the rows of one kind."""
    return [i for i, own in enumerate(kind) if own == name]


def third_of(column: Column, rows: Sequence[int], how: str) -> dict[str, Any]:
    """Return a marker that shows a metric by its ``color`` or its ``size``."""
    logarithmic = column.layout.get("type") == "log"
    values = np.array([column.values[i] for i in rows], dtype=float)
    if logarithmic:
        values = np.log10(values, where=values > 0, out=np.full_like(values, np.nan))
    known = values[~np.isnan(values)]
    if how == "size":
        low = known.min() if len(known) else 0.0
        scale = (_SIZES[1] - _SIZES[0]) / (np.ptp(known) if len(set(known)) > 1 else 1)
        sizes = _SIZES[0] + (np.nan_to_num(values, nan=low) - low) * scale
        return {"size": sizes.tolist(), "opacity": 0.85}
    return {
        "color": values.tolist(),
        "colorscale": SCALE,
        "showscale": len(set(known)) > 1,
        "colorbar": dict(column.colour_bar),
    }


def symbols_of(records: Records, rows: Sequence[int], name: str) -> Any:
    """Return the symbol of rows of one kind; harvested ones have their own."""
    own = MARKS[name][1].get("symbol", "circle")
    if not any(is_harvested(records[i]) for i in rows):
        return own
    harvested = "diamond-x-open" if name == "infeasible" else "diamond"
    return [harvested if is_harvested(records[i]) else own for i in rows]


def is_harvested(row: Mapping[Any, Any]) -> bool:
    """Return whether a trial shares the training run of another."""
    return not is_missing(row.get("harvested_from"))


def hover_of_baseline(baseline: Metrics) -> str:
    """Return what is shown of the baseline when it is pointed at."""
    return (
        f"<b>baseline</b><br>accuracy {percent(baseline.get('accuracy'))}<br>"
        f"latency {milliseconds(baseline.get('latency_ms'))}<br>"
        f"parameters {count(baseline.get('parameters'))}"
    )


def complete_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that have all three objectives; none of an empty table."""
    if table.empty or not set(OBJECTIVES) <= set(table.columns):
        names = ["trial", "on_front", "feasible", *OBJECTIVES]
        return pd.DataFrame(columns=names).astype({"on_front": bool, "feasible": bool})
    complete = table[table["state"] == "complete"].dropna(subset=list(OBJECTIVES))
    return complete.astype({"on_front": bool, "feasible": bool})


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is empty."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def hover_of(row: Mapping[Any, Any]) -> str:
    """Return what is shown of a trial when it is pointed at; texts are escaped."""
    known = {
        key: None if pd.api.types.is_scalar(v) and pd.isna(v) else v for key, v in row.items()
    }
    predicted = known.get("predicted_accuracy")
    accuracy = known.get("accuracy") if predicted is None else predicted
    told = "accuracy" if predicted is None else "accuracy at most"
    lines = [
        f"<b>trial {known['trial']}</b>",
        f"{told} {percent(accuracy)}",
        f"latency {milliseconds(known.get('latency_ms'))}, {ratio_interval(known)}",
        f"parameters {count(known.get('parameters'))}, {ratio(known.get('parameter_ratio'))}",
    ]
    parent = known.get("harvested_from")
    if parent is not None:
        lines.append(f"harvested from trial {int(parent)}")
    recipe = str(known.get("recipe") or "")
    return "<br>".join([*lines, *(escape(part) for part in recipe.split(" · ") if part)])
