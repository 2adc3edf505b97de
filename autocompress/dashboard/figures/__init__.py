"""Figures of a run, from its table and plain data. They work in a notebook as on the page."""

from autocompress.dashboard.figures.models import curve, latency, widths
from autocompress.dashboard.figures.tradeoffs import history, pareto, pareto_3d

__all__ = ["curve", "history", "latency", "pareto", "pareto_3d", "widths"]
