"""An executor of your own: here a thread; Slurm, Ray or a queue answer the same calls."""

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from small import QUICK, SPACE, TRAINING, digits, trained

import autocompress as ac


class ThreadExecutor:
    """Runs one job at a time in a thread, so that this one stays free."""

    capacity = 1

    def start(self, folder: Path, context: ac.Context) -> None:
        """Keep what all trials share; another machine would rebuild it from the run's folder."""
        self.context, self.done = context, queue.Queue()

    def submit(self, job: ac.Job) -> None:
        """Begin a job."""
        threading.Thread(target=lambda: self.done.put(ac.run_job(job, self.context))).start()

    def wait(self, timeout_s: float) -> Sequence[ac.Done]:
        """Return what has ended."""
        try:
            return [self.done.get(timeout=timeout_s)]
        except queue.Empty:
            return []

    def cancel(self, number: int) -> None:
        """A thread cannot be stopped: the job is returned when it is complete."""

    def close(self) -> None:
        """There is nothing to free."""


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search, with trials in a thread."""
    return ac.search(
        trained(),
        digits(),
        executor=ThreadExecutor(),
        space=SPACE,
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_executor",
        directory=directory,
    )


if __name__ == "__main__":
    print(len(main().front()), "models on the front")
