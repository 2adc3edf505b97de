"""Figures of a run, drawn from what describes its metrics. They work in a notebook too."""

from autocompress.figures.layers import widths
from autocompress.figures.models import curve, latency, stages
from autocompress.figures.parameters import importance, parallel, slices
from autocompress.figures.space import pareto_3d
from autocompress.figures.studies import history, timeline
from autocompress.figures.tradeoffs import pareto

__all__ = [
    "curve",
    "history",
    "importance",
    "latency",
    "parallel",
    "pareto",
    "pareto_3d",
    "slices",
    "stages",
    "timeline",
    "widths",
]


def __dir__() -> list[str]:
    return __all__
