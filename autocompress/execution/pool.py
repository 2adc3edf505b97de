"""Runs trials in processes of their own: several at once, and one that dies takes none with it."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from autocompress.errors import AutocompressError, ConfigurationError
from autocompress.execution.executor import Done, Job, interrupted
from autocompress.execution.worker import READY, TAKEN
from autocompress.results import Failure, TrialResult
from autocompress.targets import usable_cores

if TYPE_CHECKING:
    from autocompress.context import Context


@dataclass
class _Worker:
    """A process of the pool, with the job that it runs and what it wrote of an unfinished line."""

    process: subprocess.Popen[bytes]
    results: int
    job: Job | None = None
    ready: bool = False
    taken: bool = False  # whether it has begun its job
    cancelled: bool = False
    pending: bytes = b""

    def send(self, job: Job) -> None:
        """Give it a job."""
        assert self.process.stdin is not None
        self.job, self.taken = job, False
        self.process.stdin.write(json.dumps(job.to_dict()).encode() + b"\n")
        self.process.stdin.flush()


class LocalPool:
    """Processes on this machine, each with its share of the cores.

    A process is started with the first job that needs it, and opens the run again from its
    folder; so the study must be one that its file describes. One that dies is replaced, and the
    trial that it had begun fails: such a recipe would most likely kill the next process too.

    Args:
        workers: how many processes, at least 1.

    Raises:
        ConfigurationError: fewer than one worker.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ConfigurationError(f"workers: expected at least 1, not {workers}")
        self.capacity = workers
        self._folder: Path | None = None
        self._workers: list[_Worker] = []
        self._ended: list[Done] = []  # to be returned by the next ``wait``
        self._selector = selectors.DefaultSelector()

    def start(self, folder: Path, context: "Context") -> None:
        """Keep the folder.

        Raises:
            ConfigurationError: the study holds Python objects, which another process lacks.
        """
        if not context.problem.config.rebuildable:
            raise ConfigurationError(
                "a pool of processes needs a study that its file describes, and this one holds "
                "Python objects: name them as 'package.module:function', or use the "
                "InlineExecutor"
            )
        self._folder = folder

    def submit(self, job: Job) -> None:
        """Give the job to a process that has none; start one where there is none."""
        idle = next((worker for worker in self._workers if worker.job is None), None)
        worker = idle or self._begin()
        with contextlib.suppress(BrokenPipeError):  # it has just died; ``wait`` looks at how
            worker.send(job)

    def wait(self, timeout_s: float) -> Sequence[Done]:
        """Return jobs that have ended, and failures of processes that died.

        Raises:
            AutocompressError: a process could not open the run.
        """
        for key, _ in self._selector.select(0 if self._ended else timeout_s):
            worker: _Worker = key.data
            chunk = os.read(worker.results, 1 << 20)
            if chunk:
                self._ended += self._read(worker, chunk)
            else:
                self._ended += self._remove(worker)
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, number: int) -> None:
        """Ask the process of a job to end it between two batches."""
        for worker in self._workers:
            if worker.job is not None and worker.job.number == number:
                worker.cancelled = True
                worker.process.terminate()

    def close(self) -> None:
        """End all processes: those that run a job, between two batches."""
        for worker in self._workers:
            self._selector.unregister(worker.results)
            _close_quietly(worker.process.stdin)
            worker.process.terminate()
        for worker in self._workers:
            worker.process.wait()
            os.close(worker.results)
        self._workers = []

    def _begin(self) -> _Worker:
        assert self._folder is not None
        threads = str(max(1, usable_cores() // self.capacity))
        read, write = os.pipe()
        command = [sys.executable, "-m", "autocompress.execution.worker", str(self._folder)]
        process = subprocess.Popen(
            [*command, str(write), str(os.getpid())],
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[write],
            process_group=0,  # Ctrl-C reaches the parent alone, which stops the workers
        )
        os.close(write)
        worker = _Worker(process, read)
        self._workers.append(worker)
        self._selector.register(read, selectors.EVENT_READ, worker)
        return worker

    def _read(self, worker: _Worker, chunk: bytes) -> list[Done]:
        *lines, worker.pending = (worker.pending + chunk).split(b"\n")
        ended = []
        for line in lines:
            document: dict[str, Any] = json.loads(line)
            if READY in document:
                worker.ready = True
                continue
            if TAKEN in document:
                worker.taken = True
                continue
            worker.job, worker.cancelled = None, False
            result = TrialResult.from_dict(document.pop("result"))
            ended.append(Done(result=result, **document))
        return ended

    def _remove(self, worker: _Worker) -> list[Done]:
        """Take a process out that has ended; fail the job that it had."""
        self._selector.unregister(worker.results)
        os.close(worker.results)
        _close_quietly(worker.process.stdin)
        self._workers.remove(worker)
        code, job = worker.process.wait(), worker.job
        if not worker.ready and code > 0:
            self._ended += [] if job is None else [interrupted(job)]
            raise AutocompressError(
                f"a worker ended with exit code {code} before its first trial; what is finished "
                f"is kept: autocompress resume {self._folder}, in Python resume=True"
            )
        if job is None:
            return []
        if worker.cancelled:  # while it started
            return [interrupted(job)]
        if worker.ready and not worker.taken:  # it died of something else
            self.submit(job)
            return []
        killed = f"{signal.Signals(-code).name}: out of memory, or a crash" if code < 0 else ""
        reason = f"its process ended by {killed or f'exit code {code}, after an error of its own'}"
        failure = Failure(stage="process", reason=reason)
        return [
            Done(
                number=job.number,
                result=TrialResult(state="failed", recipe=job.recipe, failure=failure),
            )
        ]


def _close_quietly(file: IO[bytes] | None) -> None:
    if file is not None:
        with contextlib.suppress(BrokenPipeError):
            file.close()
