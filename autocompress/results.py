"""What a trial returns, as typed and versioned documents that cross processes and disks.

Nothing here loads torch: reading a run needs no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from autocompress.documents import typed
from autocompress.errors import RunError
from autocompress.metrics import Estimate
from autocompress.reading import plain as as_plain
from autocompress.sentences import shown
from autocompress.settings import setting
from autocompress.short_repr import short_repr

VERSION = 2  # of a trial's document; release 0.1 had none
MOST_THREADS = 4096  # of a CPU that a document may ask for
EndState = Literal["complete", "pruned", "failed", "interrupted"]
Estimates = Mapping[str, Estimate]
"""Estimates by the name of their metric."""
Fact = str | int | float | bool | None
Fingerprint = Mapping[str, Fact]
"""Hardware and software that latencies depend on, by the name of the fact."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch of one stage: a point of the training curve.

    Attributes:
        stage: what was trained.
        epoch: how many had ended, from 1.
        train_loss: mean over the epoch.
        valid_loss: mean over ``valid``.
        score: the task's first score on ``valid``.
    """

    stage: str
    epoch: int = setting(help="how many had ended", low=0)
    train_loss: float
    valid_loss: float
    score: float


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a model was after a stage.

    Attributes:
        stage: its name.
        seconds: wall-clock time.
        score: the task's first score on ``valid``; ``None`` where it was not evaluated.
        parameters: elements of the tensors that are there, zeros included.
        steps: how many steps of the plan were taken by then.
        report: what was done, what was not, and why, in sentences.
    """

    stage: str
    seconds: float
    score: float | None
    parameters: int = setting(help="elements of the tensors", low=0)
    steps: int = setting(help="of the plan", low=0)
    report: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a trial did not complete: it failed, was not worth training, or was stopped early.

    Attributes:
        stage: in which it happened.
        reason: in one line.
        traceback: where an exception was raised.
        bound: the best score that a stopped trial could still reach.
        dominated_by: number of the trial that is better even then.
        epoch: after which it was stopped.
    """

    stage: str
    reason: str
    traceback: str | None = None
    bound: float | None = None
    dominated_by: int | None = None
    epoch: int | None = None

    def __post_init__(self) -> None:
        """Let no reason be blank, whoever made it."""
        if not self.reason.strip():
            object.__setattr__(self, "reason", "no reason was given")


def _misnamed(folder: str) -> str:
    """Refuse what would lead out of a run's folder."""
    plain = folder.isprintable() and folder not in ("", ".", "..") and not {*"/\\"} & {*folder}
    return "" if plain else "expected the name of a folder"


@short_repr
@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """All that a trial returns.

    Attributes:
        state: how it ended.
        recipe: all that it decided, as ``Recipe.to_dict`` writes it.
        metrics: what is known of the model; of a trial that was not trained, what an estimate of
            its structure gives.
        curve: of every training run, in order.
        stages: what each stage led to, in order.
        seconds: wall-clock time by stage, evaluation and measurement included.
        failure: why it is not complete.
        folder: name of its folder in the run, with weights, plan and samples; ``None`` without.
        sha256: of that folder.
        threads: of the CPU that it was trained with.
        derived: other candidates of the same training run, each a trial of its own.
        fraction: of a derived one: the share of the other's sparsity that it has, in [0, 1].
    """

    state: EndState
    recipe: Mapping[str, Any]
    metrics: Estimates = field(default_factory=dict)
    curve: tuple[EpochRecord, ...] = ()
    stages: tuple[StageResult, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    folder: str | None = setting(None, help="its name in the run", check=_misnamed)
    sha256: str | None = None
    threads: int | None = setting(None, help="of the CPU", low=1, high=MOST_THREADS)
    derived: "tuple[TrialResult, ...]" = ()
    fraction: float = setting(1.0, help="of the parent's sparsity", low=0, high=1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain: dict[str, Any] = as_plain(self)
        plain["metrics"] = {name: found.to_dict() for name, found in self.metrics.items()}
        plain["derived"] = [result.to_dict() for result in self.derived]
        return {"version": VERSION, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned.

        Raises:
            RunError: it is of another version, or no result of a trial.
        """
        return typed(cls, unversioned(data), "not the result of a trial")


def unversioned(data: Any) -> Any:
    """Return the document of a trial's result, and of those in it, without its version.

    Raises:
        RunError: it is of another version.
    """
    if not isinstance(data, Mapping):
        return data
    if data.get("version") != VERSION:
        raise RunError(f"a trial's result of version {shown(data.get('version'))}, not {VERSION}")
    plain = {key: value for key, value in data.items() if key != "version"}
    if isinstance(data.get("derived"), list):
        plain["derived"] = [unversioned(result) for result in data["derived"]]
    return plain


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A complete trial, as a running one is compared with it.

    Attributes:
        number: of the trial.
        score: the task's first score, on ``valid``.
        values: of its objectives, by the name of their metric.
        feasible: whether it keeps all limits.
        curve: of its training; empty where it has none of its own.
    """

    number: int
    score: float
    values: Mapping[str, float]
    feasible: bool
    curve: tuple[EpochRecord, ...] = ()


def _no_shape(shape: Sequence[int]) -> str:
    return "" if all(size >= 0 for size in shape) else "expected a shape"


def _no_shapes(shapes: Sequence[Sequence[int]]) -> str:
    fine = all(shape and not _no_shape(shape) for shape in shapes)
    return "" if fine else "expected shapes"


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """A layer before and after compression.

    Attributes:
        name: of the layer in the original model.
        type: its class.
        before: shape of its weight.
        after: shapes of the weights in its place: one, two where it was factorized, none where
            it is gone.
        rank: between those two, else ``None``.
        parameters_before: of the layer.
        parameters_after: of what is in its place.
        sparsity: of the weights that are left: the fraction of exact zeros, in [0, 1].
    """

    name: str
    type: str
    before: tuple[int, ...] = setting(help="shape of its weight", check=_no_shape)
    after: tuple[tuple[int, ...], ...] = setting(help="of what is there", check=_no_shapes)
    rank: int | None
    parameters_before: int
    parameters_after: int
    sparsity: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            **asdict(self),
            "before": list(self.before),
            "after": [list(shape) for shape in self.after],
        }

    @property
    def width(self) -> int:
        """Outputs that are left."""
        return self.after[-1][0] if self.after else 0


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """What one layer does in one call of the model.

    Attributes:
        ms: median milliseconds, the overhead of one call of a layer included.
        macs: multiply-accumulates.
        bytes: of inputs, outputs and weights, each counted once per call of the layer.
        overhead_ms: the time that the smallest layer of its kind takes, once per call of the
            layer: what no removal of weights gets below.
        widths: outputs (channels) of each weight matrix; none for a norm.
    """

    ms: float
    macs: int
    bytes: int
    overhead_ms: float
    widths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """A layer's work before and after compression.

    Attributes:
        name: of the layer in the original model.
        type: its class.
        before: ``None`` where it was not called.
        after: of what is in its place; ``None`` where it is gone or was not called.
    """

    name: str
    type: str
    before: LayerWork | None
    after: LayerWork | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self)
        for work in (plain["before"], plain["after"]):
            if work is not None:
                work["widths"] = list(work["widths"])
        return plain
