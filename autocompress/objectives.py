"""What a search improves: metrics by their names, and the user's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from autocompress.errors import ConfigurationError
from autocompress.metrics import Metric
from autocompress.metrics.metric import KNOWN, LATENCY, PARAMETERS
from autocompress.registry import did_you_mean
from autocompress.tasks import Task
from autocompress.user_code import find_object

DECORATOR = "@autocompress.metric(direction='minimize') makes one of a function"


def objectives_from(
    given: Sequence[str | Metric] | None, task: Task
) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
    """Return the objectives that are given, and which of them the user added.

    Args:
        given: names of metrics, ``"package.module:name"``, or metrics; ``None``: the task's first
            score, latency and parameters.
        task: its scores are known by name.

    Raises:
        ConfigurationError: there is no such metric, one is given twice, or there are not one to
            five.
    """
    known = {score.metric.name: score.metric for score in task.scores} | KNOWN
    if given is None:
        return (task.score, LATENCY, PARAMETERS), ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigurationError(
            f"expected a list of one to five metrics or their names, got {given!r:.80}"
        )
    found: list[Metric] = []
    own: list[Metric] = []
    for one in given:
        if isinstance(one, str) and one in known:
            found.append(known[one])
            continue
        metric = _own_metric(one, known)
        found.append(metric)
        own.append(metric)
    names = [metric.name for metric in found]
    if not 1 <= len(names) <= 5 or len(set(names)) < len(names):
        raise ConfigurationError(f"expected one to five different metrics, not {names}")
    return tuple(found), tuple(own)


def _own_metric(given: Any, known: Mapping[str, Metric]) -> Metric:
    metric = _named_metric(given, known) if isinstance(given, str) else given
    if not isinstance(metric, Metric):
        title = repr(given) if isinstance(given, str) else getattr(given, "__name__", repr(given))
        raise ConfigurationError(
            f"{title} is no autocompress.Metric but {type(metric).__name__}; {DECORATOR}"
        )
    if metric.name in known:
        raise ConfigurationError(
            f"{metric.name!r} is the name of a metric that every run has; give yours another name"
        )
    if metric.measure is None:
        raise ConfigurationError(f"the metric {metric.name!r} has no function that measures it")
    return metric


def _named_metric(name: str, known: Mapping[str, Metric]) -> Any:
    if ":" in name:
        return find_object(name, "metric")
    raise ConfigurationError(
        f"unknown metric {name!r}{did_you_mean(name, known)}; allowed: {', '.join(known)}, or "
        "'package.module:name' of a metric of your own"
    )
