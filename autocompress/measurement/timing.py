"""Reading the clock around calls, on the CPU and on CUDA devices."""

import time
from collections.abc import Callable

import torch

from autocompress.measurement.runtimes import Call
from autocompress.measurement.sampling import TimedCalls


def timed_by_clock(call: Call) -> TimedCalls:
    """Time calls that return when their work is done, by the wall clock."""

    def duration_ms() -> float:
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) / 1e6

    return _repeated(duration_ms)


def timed_by_events(call: Call, device: torch.device) -> TimedCalls:
    """Time calls that queue work on a CUDA stream, by events on it; each call is waited for."""
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    stream = torch.cuda.current_stream(device)

    def duration_ms() -> float:
        start.record(stream)
        call()
        end.record(stream)
        end.synchronize()
        return float(start.elapsed_time(end))

    return _repeated(duration_ms)


def _repeated(duration_ms: Callable[[], float]) -> TimedCalls:
    """Return a function that makes n calls and tells durations and contention.

    Contention is 1 - CPU time / wall time of the calling thread, which works in every parallel
    region and spins or works between them, so that it loses CPU time only to others. With two
    threads on two cores and a busy third process it reads 0.27 to 0.37 where the kernel's own
    run queue statistics read 0.35 to 0.41; on a quiet machine both read 0.00.
    """

    def run(count: int) -> tuple[list[float], float]:
        with torch.inference_mode():
            wall, cpu = time.perf_counter(), time.thread_time()
            durations = [duration_ms() for _ in range(count)]
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        return durations, min(1.0, max(0.0, 1 - cpu / wall))

    return run
