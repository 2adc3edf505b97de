"""What a model is worth: metrics, their estimates, limits, and the Pareto front. No torch here."""

from autocompress.metrics.limits import Limits
from autocompress.metrics.metric import Candidate, Estimate, Metric, metric

__all__ = ["Candidate", "Estimate", "Limits", "Metric", "metric"]
