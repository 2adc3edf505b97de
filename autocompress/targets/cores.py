"""How much of this machine's CPU a process may use, and that no more threads compute than that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import torch


def usable_cores(system: Path = Path("/")) -> int:
    """Return how many cores' worth of time this process may use, at least 1.

    That is the cores it may run on, and no more than the quota of its container (``docker run
    --cpus``), in whole cores: more threads than that would be stopped in turns.

    Args:
        system: root of the file system, where ``proc`` and ``sys`` tell of control groups.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *map(int, _quotas(system))]))


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let PyTorch use this many CPU threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def within_usable_cores() -> Iterator[None]:
    """Let PyTorch use no more CPU threads than there are usable cores meanwhile."""
    with cpu_threads(min(torch.get_num_threads(), usable_cores())):
        yield


def _quotas(system: Path) -> Iterator[float]:
    """Yield every quota, in cores, that limits this process: its control groups' and theirs."""
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = system / "sys/fs/cgroup"
        mounted = mounts / controllers  # each controller of version 1 has a tree of its own
        for parent in (PurePosixPath(group), *PurePosixPath(group).parents):
            yield from _quota(mounted / str(parent).lstrip("/"))
        yield from _quota(mounts / "cpu")  # where a container does not see where it stands


def _quota(group: Path) -> Iterator[float]:
    quota, _, period = _text(group / "cpu.max").partition(" ")  # version 2
    if not quota:
        quota = _text(group / "cpu.cfs_quota_us")  # version 1
        period = _text(group / "cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():  # "max" and -1: there is none
        yield int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:  # there are no control groups, or not of this version
        return ""
