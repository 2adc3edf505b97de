"""Quotas of containers, as the files of a machine tell of them."""

import os

import pytest
import torch

from autocompress.targets import usable_cores, within_usable_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def made_of(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"{text}\n")
    return folder


V2, GROUP = "sys/fs/cgroup", "proc/self/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    "files",
    [
        {GROUP: "0::/", f"{V2}/cpu.max": "100000 100000"},
        {GROUP: "0::/", f"{V2}/cpu.max": "50000 100000"},
        {GROUP: "0::/a/b", f"{V2}/a/cpu.max": "100000 100000", f"{V2}/a/b/cpu.max": "max 100000"},
        {
            GROUP: "4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1",
            f"{V1}/cpu.cfs_quota_us": "150000",
            f"{V1}/cpu.cfs_period_us": "100000",
        },
        {
            GROUP: "9:memory:/m\n2:cpu:/m",
            "sys/fs/cgroup/cpu/m/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/m/cpu.cfs_period_us": "100000",
        },
    ],
    ids=["version 2", "half a core", "of a parent", "version 1 in docker", "version 1"],
)
def test_the_quota_of_a_container_is_counted(tmp_path, files):
    assert usable_cores(made_of(tmp_path, files)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {GROUP: "0::/", f"{V2}/cpu.max": "max 100000"},
        {GROUP: "0::/", f"{V2}/cpu.max": "6400000 100000"},
        {GROUP: "0::/", f"{V2}/memory.max": "1"},
        {GROUP: "4:cpu,cpuacct:/", f"{V1}/cpu.cfs_quota_us": "-1"},
        {GROUP: "9:memory:/", f"{V2}/memory/cpu.cfs_quota_us": "1"},
    ],
    ids=["no groups", "no quota", "a large one", "of memory", "none in version 1", "of others"],
)
def test_without_a_quota_all_cores_that_it_may_run_on_are_usable(tmp_path, files):
    assert usable_cores(made_of(tmp_path, files)) == CORES


def test_no_more_threads_compute_than_there_are_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(CORES + 3)
    try:
        with within_usable_cores():
            assert torch.get_num_threads() == usable_cores()
        assert torch.get_num_threads() == CORES + 3
    finally:
        torch.set_num_threads(before)
