import threading
import time

import torch

from autocompress.targets.timing import timed_by_clock


def work():
    until = time.thread_time() + 0.002
    while time.thread_time() < until:
        pass


def test_waiting_shows_in_durations_and_not_in_cpu_times():
    def call():
        work()
        time.sleep(0.004)

    timed = timed_by_clock(call)(5)
    assert len(timed.durations_ms) == len(timed.cpu_ms) == 5
    assert all(wall >= cpu + 4 for wall, cpu in zip(timed.durations_ms, timed.cpu_ms, strict=True))
    assert timed.contention > 0.3


def test_work_in_other_threads_leaves_cpu_times_unknown():
    def call():
        other = threading.Thread(target=work)
        other.start()
        other.join()

    assert timed_by_clock(call)(3).cpu_ms is None


def test_calls_are_made_in_inference_mode():
    seen = []
    timed_by_clock(lambda: seen.append(torch.is_inference_mode_enabled()))(2)
    assert seen == [True, True]
