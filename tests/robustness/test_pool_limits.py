"""Processes of a pool that hang, eat memory, or die early: each costs its trial at most."""

import sys
import time
from types import SimpleNamespace

import pytest

from autocompress.errors import AutocompressError, ConfigurationError
from autocompress.execution import Job
from autocompress.execution.inline import InlineExecutor
from autocompress.execution.pool import STARTS, LocalPool
from autocompress.results import TrialResult

PROCESS = """
import json, os, signal, sys, time
from pathlib import Path

folder, results, parent = sys.argv[1:]

def write(document):
    os.write(int(results), json.dumps(document).encode() + b"\\n")

early = Path(folder, "early_deaths")
if early.exists() and int(early.read_text()) > 0:
    early.write_text(str(int(early.read_text()) - 1))
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
write({"ready": True})
for line in sys.stdin:
    job = json.loads(line)
    write({"taken": job["number"]})
    do = job["recipe"]["do"]
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "eat":
        eaten = bytearray(200_000_000)
    if do in ("hang", "eat"):
        time.sleep(1e6)
    write({"number": job["number"], "result": job["recipe"]["result"]})
"""
STUDY = SimpleNamespace(config=SimpleNamespace(rebuildable=True))


def job(number, do="work", **more):
    result = TrialResult(state="complete", recipe={}, folder="0").to_dict()
    return Job(number=number, recipe={"do": do, "result": result}, **more)


@pytest.fixture
def pool(tmp_path):
    """Two quick processes that do as they are told."""
    program = tmp_path / "process.py"
    program.write_text(PROCESS)
    made = LocalPool(2, program=(sys.executable, "-S", str(program)), grace_s=0.1)
    made.start(tmp_path, SimpleNamespace(problem=STUDY))
    yield made
    made.close()


def ended(pool, count):
    """Return the results of so many jobs, by number."""
    found = {}
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found |= {done.number: done.result for done in pool.wait(1.0)}
    return found


def test_a_trial_that_hangs_fails_alone_after_its_time(pool):
    pool.submit(job(0, "hang", limit_s=0.1))
    pool.submit(job(1, limit_s=60.0))
    found = ended(pool, 2)
    pool.submit(job(2))
    found |= ended(pool, 1)
    assert [found[number].state for number in range(3)] == ["failed", "complete", "complete"]
    assert found[0].failure.stage == "time limit"
    assert "more than 0.1 s; study.trial_timeout" in found[0].failure.reason


def test_a_trial_that_takes_too_much_memory_fails_alone(pool):
    pool.submit(job(0, "eat", memory_gb=0.1))
    pool.submit(job(1, memory_gb=0.1))
    found = ended(pool, 2)
    assert [found[number].state for number in range(2)] == ["failed", "complete"]
    assert found[0].failure.stage == "memory limit"
    assert found[0].failure.reason == "its process took more than 0.1 GB (study.trial_memory_gb)"


def test_a_trial_that_hangs_is_interrupted_all_the_same(pool):
    pool.submit(job(0, "hang"))
    pool.submit(job(1))
    found = ended(pool, 1)
    pool.cancel(0)
    found |= ended(pool, 1)
    assert [found[number].state for number in range(2)] == ["interrupted", "complete"]


def test_a_pool_closes_though_a_trial_hangs(pool):
    pool.submit(job(0, "hang"))
    assert pool.wait(0.2) == []


def test_a_process_that_dies_in_its_trial_fails_it(pool):
    pool.submit(job(0, "die"))
    (result,) = ended(pool, 1).values()
    assert (result.state, result.failure.stage) == ("failed", "process")
    assert result.failure.reason == "its process ended by SIGKILL: out of memory, or a crash"


def test_a_process_that_dies_before_its_first_trial_is_replaced(pool, tmp_path):
    (tmp_path / "early_deaths").write_text(str(STARTS - 1))
    pool.submit(job(0))
    assert {number: r.state for number, r in ended(pool, 1).items()} == {0: "complete"}


def test_where_no_process_comes_to_a_trial_the_pool_says_so(pool, tmp_path):
    (tmp_path / "early_deaths").write_text("1000")
    pool.submit(job(0))
    with pytest.raises(AutocompressError, match="ended by SIGKILL before its first trial, 3 in a"):
        ended(pool, 1)
    assert {number: r.state for number, r in ended(pool, 1).items()} == {0: "interrupted"}


def test_memory_is_not_limited_where_a_trial_has_no_process_of_its_own():
    with pytest.raises(ConfigurationError, match=r"study\.trial_memory_gb: 2 GB .* LocalPool"):
        InlineExecutor().submit(job(0, memory_gb=2.0))
