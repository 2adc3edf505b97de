"""Reading the clock around calls, on the CPU and on CUDA devices."""

import time
from collections.abc import Callable
from typing import Any

import torch

from autocompress.targets.sampling import TimedCalls
from autocompress.targets.statistics import Calls

Call = Callable[[], Any]
"""One call of a model on the example."""

FOREIGN = 0.05  # share of a block's CPU time that other threads of this process may have


def timed_by_clock(call: Call) -> TimedCalls:
    """Time calls that return when their work is done, by the wall clock and by CPU time."""

    def duration_ms() -> tuple[float, float]:
        cpu = time.thread_time_ns()
        start = time.perf_counter_ns()
        call()
        end = time.perf_counter_ns()
        return (end - start) / 1e6, (time.thread_time_ns() - cpu) / 1e6

    return _repeated(duration_ms)


def timed_by_events(call: Call, device: torch.device) -> TimedCalls:
    """Time calls that queue work on a CUDA stream, by events on it; each call is waited for."""
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    stream = torch.cuda.current_stream(device)

    def duration_ms() -> tuple[float, None]:
        start.record(stream)
        call()
        end.record(stream)
        end.synchronize()
        return float(start.elapsed_time(end)), None

    return _repeated(duration_ms)


def _repeated(duration_ms: Callable[[], tuple[float, float | None]]) -> TimedCalls:
    """Return a function that makes n calls and returns durations, contention and CPU times.

    Contention is 1 - CPU time / wall time of the calling thread, which works in every parallel
    region and spins or works between them, so that it loses CPU time only to others. With two
    threads on two cores and a busy third process it reads 0.27 to 0.37 where the kernel's own
    run queue statistics read 0.35 to 0.41; on a quiet machine both read 0.00. The CPU times of
    calls are returned only if no other thread of this process worked meanwhile.
    """

    def run(count: int) -> Calls:
        with torch.inference_mode():
            wall, own, all_threads = time.perf_counter(), time.thread_time(), time.process_time()
            timed = [duration_ms() for _ in range(count)]
            wall, own = time.perf_counter() - wall, time.thread_time() - own
            all_threads = time.process_time() - all_threads
        alone = all_threads - own <= FOREIGN * own
        cpu = [cpu for _, cpu in timed if cpu is not None]
        return Calls(
            durations_ms=[duration for duration, _ in timed],
            contention=min(1.0, max(0.0, 1 - own / wall)),
            cpu_ms=cpu if cpu and alone else None,
        )

    return run
