"""Figures of a run, from its table and plain data. They work in a notebook as on the page."""

from autocompress.figures.models import curve, latency, stages, widths
from autocompress.figures.space import pareto_3d
from autocompress.figures.studies import history, importance, parallel, slices, timeline
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
