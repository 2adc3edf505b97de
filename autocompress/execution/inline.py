"""Runs trials in this process, one after the other: for notebooks, objects and debugging."""

from collections.abc import Sequence
from pathlib import Path

from autocompress.context import Context
from autocompress.errors import ConfigurationError, UsageError
from autocompress.execution.executor import Done, Job, interrupted
from autocompress.execution.jobs import run_job


class InlineExecutor:
    """Runs each job when its result is waited for.

    A job that exceeds its time ends at its next batch or stage. What never gets there, such as a
    ``forward`` that hangs, only Ctrl-C ends; and what ends this process, such as a lack of
    memory, ends the search. In a :class:`LocalPool` each costs one trial.

    Example:
        >>> InlineExecutor().capacity
        1
    """

    capacity = 1

    def __init__(self) -> None:
        self._context: Context | None = None
        self._jobs: list[Job] = []
        self._cancelled: list[Job] = []

    def start(self, folder: Path, context: Context) -> None:
        """Keep the context."""
        self._context = context

    def submit(self, job: Job) -> None:
        """Take a job.

        Raises:
            ConfigurationError: its memory is limited, and here it has none of its own.
        """
        if job.memory_gb is not None:
            raise ConfigurationError(
                f"study.trial_memory_gb: {job.memory_gb:g} GB can be held to where a trial has a "
                "process of its own, in a LocalPool, and not in an InlineExecutor"
            )
        self._jobs.append(job)

    def wait(self, timeout_s: float) -> Sequence[Done]:
        """Run the next job to its end, however long it takes.

        Raises:
            UsageError: the executor was not started.
            KeyboardInterrupt: somebody asked to stop; the job is not finished.
        """
        if self._cancelled:
            gone, self._cancelled = self._cancelled, []
            return [interrupted(job) for job in gone]
        if not self._jobs:
            return []
        if self._context is None:
            raise UsageError("an executor must be started before it runs jobs")
        job = self._jobs[0]
        done = run_job(job, self._context)
        self._jobs.remove(job)
        return [done]

    def cancel(self, number: int) -> None:
        """Give a job up that does not run yet, or that was interrupted."""
        gone = [job for job in self._jobs if job.number == number]
        self._jobs = [job for job in self._jobs if job.number != number]
        self._cancelled += gone

    def close(self) -> None:
        """Forget all jobs."""
        self._jobs, self._cancelled, self._context = [], [], None
