"""An executor is a value: it takes jobs, runs each somewhere, and returns the results."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from autocompress.results import EpochRecord, Rival, TrialResult

if TYPE_CHECKING:
    from autocompress.context import Context


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to run; it goes to JSON and back.

    Attributes:
        number: of the trial.
        recipe: all that it decides, as ``Recipe.to_dict`` writes it; its ``start`` names the
            trial whose trainable weights it starts from.
        start_folder: folder of that trial in the run; ``None``: it starts from the baseline.
        start_sha256: of that folder.
        rivals: the complete trials so far, for early stopping and derived candidates.
        stop_early: whether it may be stopped early.
        estimate: whether the structure is estimated also of a trial that is pruned, for samplers
            that need values of every trial.
        derive: whether other candidates of its training run are wanted.
        derive_s: seconds that they may take, besides a share of the trial's own time.
        limit_s: seconds of work after which it has failed; ``None`` is no limit. ``run_job``
            ends it between two batches; an executor that can end a process ends it anyway.
        memory_gb: memory in GB (10^9 bytes) of its process, above which it has failed; ``None``
            is no limit. An executor enforces it, or refuses the job.
    """

    number: int
    recipe: Mapping[str, Any]
    start_folder: str | None = None
    start_sha256: str | None = None
    rivals: tuple[Rival, ...] = ()
    stop_early: bool = False
    estimate: bool = False
    derive: bool = False
    derive_s: float = 0.0
    limit_s: float | None = None
    memory_gb: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned."""
        rivals = tuple(
            Rival(**{**row, "curve": tuple(EpochRecord(**point) for point in row["curve"])})
            for row in data["rivals"]
        )
        return cls(**{**data, "rivals": rivals})


@dataclass(frozen=True, kw_only=True)
class Done:
    """A job that has ended.

    Attributes:
        number: of the trial.
        result: what it returned; of a worker that died, a failure that says how. One that is
            interrupted and has a failure could not be stored: the search ends for that reason.
        derive_s: seconds that derived candidates took less than they were allowed.
        started: when its work began, in ISO 8601 with its time zone; ``None``: when it was
            submitted.
        device_lost: whether it broke the device of the executor, which runs nothing any more.
            The search then ends, to go on in another process. An executor that has replaced the
            process leaves it out.
    """

    number: int
    result: TrialResult
    derive_s: float = 0.0
    started: str | None = None
    device_lost: bool = False


def interrupted(job: Job) -> Done:
    """Return the end of a job that was not finished: it waits to be run again."""
    return Done(number=job.number, result=TrialResult(state="interrupted", recipe=job.recipe))


class Executor(Protocol):
    """Runs jobs."""

    @property
    def capacity(self) -> int:
        """How many jobs run at the same time."""

    def start(self, folder: Path, context: "Context") -> None:
        """Get ready, before the first job.

        Args:
            folder: of the run, from which another process rebuilds the context.
            context: what all trials share, for an executor that runs them in this process.
        """

    def submit(self, job: Job) -> None:
        """Take a job; at most ``capacity`` are there at the same time."""

    def wait(self, timeout_s: float) -> Sequence[Done]:
        """Return jobs that have ended, at least one if there is any within the time."""

    def cancel(self, number: int) -> None:
        """End a job within seconds, also one that hangs; ``wait`` returns it as interrupted."""

    def close(self) -> None:
        """End all jobs and free what is held."""
