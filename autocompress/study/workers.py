"""Several processes that work on one run: each asks, trains and saves; measuring takes turns."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from autocompress.errors import AutocompressError
from autocompress.study.searching import open_bench, optimize

INTERRUPTED = 130  # exit code of a worker that Ctrl-C ended
_POLL_S = 0.5


def threads_per_worker(workers: int) -> int:
    """Return how many threads each worker may use: too many spin, and slow all of them down."""
    return max(1, (os.cpu_count() or 1) // workers)


def quotas(trials: int, workers: int) -> list[int]:
    """Split a number of trials as evenly as possible; workers without trials are left out."""
    share, rest = divmod(trials, workers)
    return [share + (index < rest) for index in range(workers) if share + (index < rest)]


def run_workers(
    folder: Path, trials: int, workers: int, timeout_s: float | None, look: Callable[[], None]
) -> None:
    """Start workers, wait until all of them ended, and look after the run meanwhile.

    Args:
        folder: the run's folder, with its study and its baseline.
        trials: how many trials to run in all.
        workers: how many processes, at least 2.
        timeout_s: seconds after which no new trial starts.
        look: called twice a second.

    Raises:
        AutocompressError: a worker died; the trials of the others are kept.
        KeyboardInterrupt: Ctrl-C, after the workers ended.
    """
    threads = str(threads_per_worker(workers))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    limit = [] if timeout_s is None else [str(timeout_s)]
    command = [sys.executable, "-m", "autocompress.study.workers", str(folder)]
    processes = [
        subprocess.Popen(
            [*command, str(index), str(quota), str(os.getpid()), threads, *limit],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for index, quota in enumerate(quotas(trials, workers))
    ]
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(_POLL_S)
            look()
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.wait()
        look()
    codes = [process.returncode for process in processes]
    if INTERRUPTED in codes:
        raise KeyboardInterrupt
    if any(codes):
        raise AutocompressError(
            f"workers ended with {codes}; what the others finished is kept: resume {folder}"
        )


def _follow(parent: int) -> None:
    """End this process when its parent is gone: nobody would look after it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(arguments: Sequence[str]) -> None:
    """Run one worker's share of trials: what the processes of ``run_workers`` do."""
    folder, index, quota, parent, threads, *limit = arguments
    _follow(int(parent))
    torch.set_num_threads(int(threads))
    try:
        study, objective = open_bench(Path(folder), worker=int(index) + 1)
        timeout_s = float(limit[0]) if limit else None
        optimize(study, objective, int(quota), timeout_s, lambda: None)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    work(sys.argv[1:])
