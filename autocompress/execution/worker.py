"""A process of a pool: it opens a run, reads jobs from its input, and writes the results."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from autocompress.errors import AutocompressError
from autocompress.execution.executor import Job, interrupted

DEVICE_LOST = 75  # exit code of a worker whose GPU needs a new process
UNUSABLE = 2  # exit code of a worker that cannot open the run
READY, TAKEN = "ready", "taken"  # it has opened the run; it begins the job of this number
_POLL_S = 0.5


def main(arguments: Sequence[str]) -> None:
    """Run jobs until the input ends.

    Args:
        arguments: the run's folder, the descriptor that results go to, and the parent's process.
    """
    folder, descriptor, parent = arguments
    _exit_with(int(parent))
    results = os.fdopen(int(descriptor), "w")
    logging.getLogger("autocompress").setLevel(logging.ERROR)  # the parent has reported it
    from autocompress.config import load_study
    from autocompress.context import prepare
    from autocompress.events import ignore
    from autocompress.problem import problem_from
    from autocompress.runs import layout
    from autocompress.training.fitting import Monitor

    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda _, __: asked.set())

    class StopWhenAsked(Monitor):
        """Ends the trial between two batches, where nothing is half written."""

        def batch(self) -> None:
            if asked.is_set():
                raise KeyboardInterrupt

    try:
        problem = problem_from(load_study(Path(folder) / layout.STUDY))
        context = prepare(problem, Path(folder), ignore, monitor=StopWhenAsked())
    except AutocompressError as error:
        sys.stderr.write(f"autocompress: a worker cannot open {folder}: {error}\n")
        raise SystemExit(UNUSABLE) from None
    _write(results, {READY: True})
    from autocompress.execution.jobs import run_job

    for line in sys.stdin:
        job = Job.from_dict(json.loads(line))
        _write(results, {TAKEN: job.number})
        try:
            done = run_job(job, context)
        except KeyboardInterrupt:
            ended = interrupted(job)
            asked.clear()
            _write(results, {"number": job.number, "result": ended.result.to_dict()})
            continue
        asked.clear()  # too late for this job, and not meant for the next
        document = {
            "number": done.number,
            "result": done.result.to_dict(),
            "derive_s": done.derive_s,
            "started": done.started,
        }
        _write(results, document)
        if done.device_lost:
            sys.stderr.write(f"autocompress: trial {job.number} broke the GPU: its worker ends\n")
            raise SystemExit(DEVICE_LOST)
    context.close()


def _write(file: IO[str], document: object) -> None:
    file.write(json.dumps(document) + "\n")
    file.flush()


def _exit_with(parent: int) -> None:
    """End this process when its parent is gone: nobody would look after it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
