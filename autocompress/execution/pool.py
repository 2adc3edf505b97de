"""Runs trials in processes of their own: several at once, and one that dies takes none with it."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from autocompress.callbacks.time_limit import too_long
from autocompress.errors import AutocompressError, ConfigurationError
from autocompress.execution.executor import Done, Job, interrupted
from autocompress.execution.worker import READY, TAKEN, UNUSABLE
from autocompress.results import Failure, TrialResult
from autocompress.targets import usable_cores

if TYPE_CHECKING:
    from autocompress.context import Context


WORKER = (sys.executable, "-m", "autocompress.execution.worker")
TICK_S = 0.5  # how often processes are looked at
GRACE_S = 5.0
STARTS = 3  # processes in a row of which one must begin its first job


@dataclass
class _Worker:
    """A process of the pool, with the job that it runs and what it wrote of an unfinished line."""

    process: subprocess.Popen[bytes]
    results: int
    grace_s: float
    job: Job | None = None
    ready: bool = False
    taken: bool = False  # whether it has begun its job
    cancelled: bool = False
    kill_at: float | None = None  # on the monotonic clock
    failure: Failure | None = None  # why it was killed
    pending: bytes = b""

    def send(self, job: Job) -> None:
        """Give it a job."""
        assert self.process.stdin is not None
        self.job, self.taken = job, False
        self.process.stdin.write(json.dumps(job.to_dict()).encode() + b"\n")
        self.process.stdin.flush()

    def take(self) -> None:
        """Note that it begins its job."""
        self.taken = True
        if self.job is not None and self.job.limit_s is not None and not self.cancelled:
            self.kill_at = time.monotonic() + self.job.limit_s + self.grace_s

    def end(self) -> None:
        """Ask it to end its job between two batches, and the process soon after if it does not."""
        self.cancelled, self.kill_at = True, time.monotonic() + self.grace_s
        self.process.terminate()

    def done(self) -> None:
        """Note that its job has ended."""
        self.job, self.cancelled, self.kill_at = None, False, None

    def enforce(self) -> None:
        """Kill it where its job takes too long or too much memory."""
        if self.job is None or self.failure is not None:
            return
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            limit_s = self.job.limit_s
            if not self.cancelled and limit_s is not None:
                error = too_long(limit_s)
                self.failure = Failure(stage=error.stage, reason=error.reason)
            self.kill()
        elif (limit_gb := self.job.memory_gb) is not None and self.memory_gb() > limit_gb:
            reason = f"its process took more than {limit_gb:g} GB (study.trial_memory_gb)"
            self.failure = Failure(stage="memory limit", reason=reason)
            self.kill()

    def memory_gb(self) -> float:
        """Return the memory that it holds now: its resident set, without a GPU's."""
        try:
            return float(psutil.Process(self.process.pid).memory_info().rss / 1e9)
        except psutil.Error:  # it has just ended
            return 0.0

    def kill(self) -> None:
        """Kill it, with the processes that it has started."""
        self.kill_at = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class LocalPool:
    """Processes on this machine, each with its share of the cores.

    A process is started with the first job that needs it, and opens the run again from its
    folder; so the study must be one that its file describes. One that dies is replaced, and the
    trial that it had begun fails: such a recipe would most likely kill the next process too. So
    does a trial that takes more time or memory than its job allows, as seen twice a second; its
    process is killed if it does not end by itself.

    Args:
        workers: how many processes, at least 1.
        program: what a process runs; it receives the run's folder, the descriptor that results go
            to, and this process. By default autocompress's own.
        grace_s: seconds that a process has to end by itself, before it is killed.

    Raises:
        ConfigurationError: fewer than one worker.
    """

    def __init__(
        self, workers: int = 1, *, program: Sequence[str] = WORKER, grace_s: float = GRACE_S
    ) -> None:
        if workers < 1:
            raise ConfigurationError(f"workers: expected at least 1, not {workers}")
        self.capacity, self._program, self._grace_s = workers, tuple(program), grace_s
        self._folder: Path | None = None
        self._died = 0  # processes in a row, each before it had begun a job
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
            AutocompressError: processes cannot open the run.
        """
        deadline = time.monotonic() + timeout_s
        self._look(0.0)
        while not self._ended and (left_s := deadline - time.monotonic()) > 0:
            self._look(min(TICK_S, left_s))
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, number: int) -> None:
        """Ask the process of a job to end it between two batches; kill it if it hangs."""
        for worker in self._workers:
            if worker.job is not None and worker.job.number == number:
                worker.end()

    def close(self) -> None:
        """End all processes: those that run a job, between two batches, or soon after."""
        for worker in self._workers:
            self._selector.unregister(worker.results)
            _close_quietly(worker.process.stdin)
            worker.process.terminate()
        deadline = time.monotonic() + self._grace_s
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.process.wait()
            os.close(worker.results)
        self._workers = []

    def _look(self, timeout_s: float) -> None:
        """Read what processes have written, for so long if there is nothing; enforce limits."""
        for key, _ in self._selector.select(timeout_s):
            worker: _Worker = key.data
            chunk = os.read(worker.results, 1 << 20)
            if chunk:
                self._ended += self._read(worker, chunk)
            else:
                self._ended += self._remove(worker)
        for worker in self._workers:
            worker.enforce()

    def _begin(self) -> _Worker:
        assert self._folder is not None
        threads = str(max(1, usable_cores() // self.capacity))
        read, write = os.pipe()
        process = subprocess.Popen(
            [*self._program, str(self._folder), str(write), str(os.getpid())],
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[write],
            process_group=0,  # Ctrl-C reaches the parent alone, which stops the workers
        )
        os.close(write)
        worker = _Worker(process, read, self._grace_s)
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
                worker.take()
                self._died = 0
                continue
            worker.done()
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
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if job is None:
            return []
        if worker.cancelled:
            return [interrupted(job)]
        if not worker.taken:  # it died of something else
            self._died += 1
            if self._died >= STARTS or (code == UNUSABLE and not worker.ready):
                self._ended.append(interrupted(job))
                why = f" ({worker.failure.reason})" if worker.failure else ""
                raise AutocompressError(
                    f"a worker ended by {how} before its first trial{why}, {self._died} in a row; "
                    f"what is finished is kept: autocompress resume {self._folder}, in Python "
                    "resume=True"
                )
            self.submit(job)
            return []
        cause = ": out of memory, or a crash" if code < 0 else ", after an error of its own"
        failure = Failure(stage="process", reason=f"its process ended by {how}{cause}")
        result = TrialResult(state="failed", recipe=job.recipe, failure=worker.failure or failure)
        return [Done(number=job.number, result=result)]


def _close_quietly(file: IO[bytes] | None) -> None:
    if file is not None:
        with contextlib.suppress(BrokenPipeError):
            file.close()
