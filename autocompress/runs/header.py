"""What a run began with, as ``run.json`` holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autocompress.errors import RunError
from autocompress.metrics import Metric
from autocompress.results import Fingerprint
from autocompress.runs import layout
from autocompress.sentences import one_line, shown


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a run began with.

    Attributes:
        name: the study's.
        created: when the run began, with its time zone.
        objectives: what the search improves, 1 to 5.
        score: the task's first.
        metrics: all that may be known of a model of this run, by name.
        task: its name.
        sizes: number of items by split; empty where they were not noted.
        fingerprint: hardware and software that latencies depend on.
    """

    name: str
    created: datetime
    objectives: tuple[Metric, ...]
    score: Metric
    metrics: Mapping[str, Metric]
    task: str
    sizes: Mapping[str, int]
    fingerprint: Fingerprint

    def to_dict(self) -> dict[str, Any]:
        """Return what ``HeaderDocument`` reads."""
        return {
            "format": layout.FORMAT,
            "name": self.name,
            "created": self.created.isoformat(timespec="seconds"),
            "objectives": [metric.name for metric in self.objectives],
            "score": self.score.name,
            "metrics": [metric.to_dict() for metric in self.metrics.values()],
            "task": self.task,
            "sizes": dict(self.sizes),
            "fingerprint": dict(self.fingerprint),
        }


@dataclass(frozen=True, kw_only=True)
class HeaderDocument:
    """What ``run.json`` holds: metrics are described once, and named elsewhere.

    Attributes:
        digests: of what must not change while the run is gone on with, by name.
        versions: of the packages that it began with.
        recipes: parameters of the recipes that it begins with; ``None``: those of every study.
        made_in: folder that it was started in, where modules of the user's were found.
    """

    name: str
    created: datetime
    objectives: tuple[str, ...]
    score: str
    metrics: tuple[Metric, ...]
    fingerprint: Fingerprint
    digests: Mapping[str, str]
    format: int = layout.FORMAT
    task: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    recipes: tuple[Mapping[str, Any], ...] | None = None
    made_in: str = ""

    def header(self, where: str) -> Header:
        """Return it with the metrics that it names.

        Raises:
            RunError: one is not described, or there are no objectives.
        """
        metrics = {metric.name: metric for metric in self.metrics}
        if not self.objectives:
            raise RunError(f"{where} is damaged: objectives: expected 1 to 5 names of metrics")
        return Header(
            name=self.name,
            created=self.created,
            objectives=tuple(metric_named(name, metrics, where) for name in self.objectives),
            score=metric_named(self.score, metrics, where),
            metrics=metrics,
            task=self.task,
            sizes=self.sizes,
            fingerprint=self.fingerprint,
        )


def metric_named(name: str, metrics: Mapping[str, Metric], where: str) -> Metric:
    """Return a metric that a document names.

    Raises:
        RunError: it is not among the metrics; the message says where.
    """
    if name not in metrics:
        known = ", ".join(metrics)
        raise RunError(one_line(f"{where}: unknown metric {shown(name)}; described are {known}"))
    return metrics[name]
