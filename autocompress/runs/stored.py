"""What lies in a run's folder, as typed documents, whatever release wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from autocompress.documents import read_document, read_json, typed
from autocompress.results import MOST_THREADS, EpochRecord, Estimates, TrialResult
from autocompress.runs import layout
from autocompress.runs.final import Final, plain_estimates
from autocompress.runs.header import Header
from autocompress.settings import setting
from autocompress.short_repr import short_repr

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


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
class Training:
    """How the baseline was trained, as ``baseline/training.json`` holds it.

    Attributes:
        epochs: that it was trained.
        seconds: that it took.
        threads: of the CPU; ``None`` where that was not noted.
        layout: of its tensors in memory, in release 0.1.
    """

    epochs: int = setting(help="of its training", low=0)
    seconds: float = setting(help="that it took", low=0)
    threads: int | None = setting(None, help="of the CPU", low=1, high=MOST_THREADS)
    layout: str = ""


def training_of(run: Path) -> Training | None:
    """Return how a run's baseline was trained; ``None`` where it was not trained there.

    Raises:
        RunError: what is noted of it is damaged.
    """
    path = run / layout.BASELINE / layout.TRAINING
    return read_document(Training, path) if path.exists() else None


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
        """Read what ``to_dict`` returned; raises ``RunError`` for anything else."""
        return typed(cls, data, "not the units of a baseline")


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

    trial: int = setting(help="its number", low=0)
    budget_s: float
    seconds: float
    epochs: int = setting(help="of its training", low=0)
    metrics: Estimates
    curve: tuple[EpochRecord, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "metrics": plain_estimates(self.metrics)}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``to_dict`` returned; the curve, which nobody draws, is left out.

        Release 0.1 wrote metrics as plain numbers and texts.

        Raises:
            RunError: the file is missing or damaged.
        """
        data = read_json(path)
        known = dict(data) if isinstance(data, Mapping) else data
        if isinstance(data, Mapping) and isinstance(data.get("metrics"), Mapping):
            known["curve"], known["metrics"] = [], {}
            for name, found in data["metrics"].items():
                if isinstance(found, Mapping):
                    known["metrics"][name] = found
                elif isinstance(found, int | float):
                    known["metrics"][name] = {"value": found}
        return typed(cls, known, f"{path} is damaged")


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

    def damages(self) -> tuple[str, ...]:
        """Return what is missing, was changed, or is not the run's own, in words."""

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
