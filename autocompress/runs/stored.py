"""What lies in a run's folder, as typed documents, whatever release wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from autocompress.errors import RunError
from autocompress.metrics import Estimate, Metric
from autocompress.results import EpochRecord, Estimates, Fingerprint, TrialResult
from autocompress.runs import layout
from autocompress.runs.final import Final, plain_estimates
from autocompress.short_repr import short_repr

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


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
        """Return plain data for JSON, with names in place of metrics that are described once."""
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
class Baseline:
    """What was measured of the baseline; empty until then.

    Attributes:
        metrics: by name.
        samples_ms: durations of single calls.
    """

    metrics: Estimates = field(default_factory=dict)
    samples_ms: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"metrics": plain_estimates(self.metrics), "samples_ms": list(self.samples_ms)}


@dataclass(frozen=True, kw_only=True)
class UnitFacts:
    """A group of units of the baseline: what is removed together.

    Attributes:
        layer: name of the group.
        kind: of its units.
        units: how many there are.
        not_removable: reasons why they stay; empty if they can go.
    """

    layer: str
    kind: str
    units: int
    not_removable: tuple[str, ...] = ()


@short_repr
@dataclass(frozen=True, kw_only=True)
class Structure:
    """What pruning can and cannot do to the baseline.

    Attributes:
        units: its groups of units.
        fixed: layers without groups, and why.
    """

    units: tuple[UnitFacts, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def staying(self) -> dict[str, str]:
        """Layers that stay, each with the reason."""
        kept = {g.layer: "; ".join(g.not_removable) for g in self.units if g.not_removable}
        return {**self.fixed, **kept}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned."""
        units = tuple(
            UnitFacts(**{**row, "not_removable": tuple(row["not_removable"])})
            for row in data["units"]
        )
        return cls(units=units, fixed=dict(data["fixed"]))


@dataclass(frozen=True, kw_only=True)
class FromScratch:
    """The architecture of a trial, trained from fresh weights for as long as the trial was.

    Attributes:
        trial: its number.
        budget_s: seconds that the trial and the baseline were trained.
        seconds: that the new training took.
        epochs: of it.
        metrics: of what came out.
        curve: of its training.
    """

    trial: int
    budget_s: float
    seconds: float
    epochs: int
    metrics: Estimates
    curve: tuple[EpochRecord, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "metrics": plain_estimates(self.metrics)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned; the curve, which nobody draws, is left out.

        Release 0.1 wrote metrics as plain numbers and texts.
        """
        metrics = {
            name: Estimate.from_dict(found)
            if isinstance(found, Mapping)
            else Estimate(value=found)
            for name, found in data["metrics"].items()
            if isinstance(found, Mapping | int | float)
        }
        known = {name: data[name] for name in ("trial", "budget_s", "seconds", "epochs")}
        return cls(**known, metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """One trial, as it was written.

    Attributes:
        number: of the trial.
        params: values of the search parameters.
        recipe: as plain data.
        origin: who proposed it.
        name: of an initial recipe.
        start: trial whose weights it starts from.
        parent: trial whose training run it shares.
        started: when its work began; until it has ended, when it was proposed last.
        finished: when it ended.
        result: what it returned at its end; ``None`` until then.
        interrupted: whether it waits to be run again.
        lost: how often the run ended without a word while it ran.
    """

    number: int
    params: Mapping[str, Any]
    recipe: Mapping[str, Any]
    origin: str = "sampler"
    name: str | None = None
    start: int | None = None
    parent: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    result: TrialResult | None = None
    interrupted: bool = False
    lost: int = 0


class Stored(Protocol):
    """A run's folder in one format, opened for reading."""

    @property
    def files(self) -> Sequence[str]:
        """Names of the files whose change may change the run, besides the study file."""

    def header(self) -> Header:
        """Return what the run began with; raises ``RunError`` where it is damaged."""

    def baseline(self) -> Baseline:
        """Return what was measured of the baseline."""

    def final(self) -> Final | None:
        """Return the final evaluation; ``None`` until there is one."""

    def trials(self) -> Sequence[StoredTrial]:
        """Return all trials by number; those that have not changed are the same objects."""

    def wanted(self) -> int | None:
        """Return the trials in all that the last session was to run.

        ``None`` is as many as fit into the time.

        Raises:
            LookupError: there was no session.
        """

    def frozen(self, search: Mapping[str, Any]) -> "list[FrozenTrial]":
        """Return complete trials that were proposed, as Optuna computes importances of them.

        Args:
            search: the table ``[search]`` of the study.
        """


def metric_named(name: str, metrics: Mapping[str, Metric], where: str) -> Metric:
    """Return a metric that a document names.

    Raises:
        RunError: it is not among the metrics; the message says where.
    """
    if name not in metrics:
        raise RunError(f"{where}: unknown metric {name!r}; described are {', '.join(metrics)}")
    return metrics[name]
