"""Trials run in processes of their own: several at once, and one that dies takes none with it."""

import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autocompress.errors import AutocompressError, DeviceLostError
from autocompress.measurement.fingerprint import usable_cores

INTERRUPTED = 130  # exit code of a worker that was told to stop
DEVICE_LOST = 75  # exit code of a worker whose GPU needs a new process
_POLL_S = 0.5


@dataclass
class _Worker:
    """A running process: its name in the trials' attributes, and how many trials it may run."""

    index: int
    name: str
    quota: int
    process: subprocess.Popen[bytes]


class Crew:
    """Workers that run the trials of one run, each with its share of the cores.

    Args:
        folder: the run's folder, with its study and its baseline.
        workers: how many processes, at least 1.
        timeout_s: seconds after which no new trial starts.
        bury: called with a dead worker's name and how it died; fails its trial, and returns how
            many trials it had.
    """

    def __init__(
        self,
        folder: Path,
        workers: int,
        timeout_s: float | None,
        bury: Callable[[str, str], int],
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.deadline = None if timeout_s is None else time.time() + timeout_s
        self.bury = bury
        self.running: list[_Worker] = []

    def run(self, trials: int, look: Callable[[], None]) -> None:
        """Run trials until all are done or the time is up; ``look`` is called twice a second.

        Raises:
            AutocompressError: a worker failed; the trials that ended are kept.
            KeyboardInterrupt: Ctrl-C; the workers have stopped and saved.
        """
        share, rest = divmod(trials, self.workers)
        quotas = [share + (index < rest) for index in range(self.workers)]
        try:
            self.running = [self._start(i, quota) for i, quota in enumerate(quotas) if quota]
            while self.running:
                time.sleep(_POLL_S)
                look()
                for worker in [w for w in self.running if w.process.poll() is not None]:
                    self.running.remove(worker)
                    self._succeed(worker)
        finally:
            for worker in self.running:
                worker.process.terminate()
            for worker in self.running:
                worker.process.wait()
            look()

    def _start(self, index: int, quota: int) -> _Worker:
        threads = str(max(1, usable_cores() // self.workers))
        name = secrets.token_hex(4)
        deadline = "" if self.deadline is None else str(self.deadline)
        command = [sys.executable, "-m", "autocompress.study.workers", str(self.folder)]
        process = subprocess.Popen(
            [*command, name, str(index), str(quota), str(os.getpid()), deadline],
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": threads},
            stdout=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches us alone, and we tell the workers
        )
        return _Worker(index, name, quota, process)

    def _succeed(self, worker: _Worker) -> None:
        """Look at how a worker ended; if a trial killed it or broke its GPU, it is succeeded."""
        code = worker.process.returncode
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code == 0:
            return
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        had = self.bury(worker.name, how) if code < 0 or code == DEVICE_LOST else 0
        if not had:
            raise AutocompressError(
                f"a worker ended with exit code {code}; what is finished is kept: "
                f"autocompress resume {self.folder}"
            )
        if worker.quota > had:
            self.running.append(self._start(worker.index, worker.quota - had))


def _follow(parent: int) -> None:
    """End this process when its parent is gone: nobody would look after it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(arguments: Sequence[str]) -> None:
    """Run one worker's share of trials: what the processes of a ``Crew`` do."""
    folder, name, index, quota, parent, deadline = arguments
    _follow(int(parent))
    logging.getLogger("autocompress").setLevel(logging.ERROR)  # our parent said what there is
    from autocompress.study.searching import open_bench, optimize
    from autocompress.study.storage import telling_of_full_disks
    from autocompress.training.fitting import Follower

    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda _, __: told.set())

    class StopWhenTold(Follower):
        """Ends the trial between two batches, where nothing is half written."""

        def batch(self) -> None:
            if told.is_set():
                raise KeyboardInterrupt

    try:
        with telling_of_full_disks(Path(folder)):
            study, objective = open_bench(
                Path(folder), worker=int(index) + 1, follower=StopWhenTold()
            )
            left_s = float(deadline) - time.time() if deadline else None
            optimize(study, objective, int(quota), left_s, name)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except DeviceLostError as error:
        sys.stderr.write(f"autocompress: a worker ends, for a trial broke its GPU: {error}\n")
        raise SystemExit(DEVICE_LOST) from None
    except AutocompressError as error:
        raise SystemExit(f"autocompress: {error}") from None


if __name__ == "__main__":
    work(sys.argv[1:])
