import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from autocompress.errors import ConfigurationError
from autocompress.targets import DeviceLock
from autocompress.targets.lock import lock_folder

PATIENCE_S = 20

HOLDER = """
import sys, time
from pathlib import Path
from autocompress.targets.lock import DeviceLock
folder, mode = Path(sys.argv[1]), sys.argv[2]
with getattr(DeviceLock("cpu", folder), mode)():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path):
    """Hold the lock in another process; returns the process."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def taking(device_lock, mode):
    """Take the lock in a thread; return the thread and an event set once it is held."""
    held = threading.Event()

    def take():
        with getattr(device_lock, mode)():
            held.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread, held


def test_sharing_is_possible_across_processes(hold, tmp_path):
    hold("shared")
    _, held = taking(DeviceLock("cpu", tmp_path), "shared")
    assert held.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("shared", "exclusive"), ("exclusive", "shared"), ("exclusive",) * 2]
)
def test_exclusive_use_waits_for_other_processes(hold, tmp_path, theirs, ours):
    process = hold(theirs)
    _, held = taking(DeviceLock("cpu", tmp_path), ours)
    assert not held.wait(0.2)
    process.stdin.write("\n")
    process.stdin.flush()
    assert held.wait(PATIENCE_S)


def test_a_killed_process_leaves_no_lock(hold, tmp_path):
    process = hold("exclusive")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, held = taking(DeviceLock("cpu", tmp_path), "exclusive")
    assert held.wait(PATIENCE_S)


def test_threads_exclude_each_other_through_one_object(tmp_path):
    device_lock = DeviceLock("cpu", tmp_path)
    with device_lock.exclusive():
        thread, held = taking(device_lock, "shared")
        assert not held.wait(0.2)
    assert held.wait(PATIENCE_S)
    thread.join()


def test_a_waiting_measurement_is_not_starved_by_training(tmp_path):
    device_lock = DeviceLock("cpu", tmp_path)
    stop = threading.Event()

    def train():
        while not stop.is_set():
            with device_lock.shared():
                time.sleep(0.01)

    trainers = [threading.Thread(target=train, daemon=True) for _ in range(3)]
    for trainer in trainers:
        trainer.start()
    _, held = taking(device_lock, "exclusive")
    assert held.wait(PATIENCE_S)
    stop.set()
    for trainer in trainers:
        trainer.join()


@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_who_uses_a_device_uses_the_cpu_that_feeds_it(mode, tmp_path):
    with getattr(DeviceLock("mps", tmp_path), mode)():
        _, held = taking(DeviceLock("cpu", tmp_path), "exclusive")
        assert not held.wait(0.2)
    assert held.wait(PATIENCE_S)
    with DeviceLock("mps", tmp_path).shared():
        _, held = taking(DeviceLock("xpu", tmp_path), "shared")
        assert held.wait(PATIENCE_S)


def test_an_error_inside_releases_the_lock(tmp_path):
    device_lock = DeviceLock("cpu", tmp_path)
    for mode in ("shared", "exclusive"):
        with pytest.raises(ZeroDivisionError), getattr(device_lock, mode)():
            raise ZeroDivisionError
    with device_lock.exclusive():
        pass


def test_the_folder_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = lock_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.parent for path in DeviceLock("cpu").paths] == [folder]
    other = folder.stat().st_uid + 1
    folder.rename(tmp_path / f"autocompress-{other}")
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        lock_folder()
