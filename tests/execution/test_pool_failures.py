"""Processes of a pool that cannot open the run."""

from types import SimpleNamespace

from autocompress.errors import AutocompressError
from autocompress.execution import Job
from autocompress.execution.pool import LocalPool


def test_jobs_of_processes_that_cannot_open_the_run_are_given_back(tmp_path):
    study = SimpleNamespace(config=SimpleNamespace(rebuildable=True))
    pool, ended, errors = LocalPool(2), [], []
    pool.start(tmp_path, SimpleNamespace(problem=study))  # there is no study in this folder
    try:
        for number in range(2):
            pool.submit(Job(number=number, recipe={}))
        while len(ended) < 2:
            try:
                ended += pool.wait(60.0)
            except AutocompressError as error:
                errors.append(str(error))
    finally:
        pool.close()
    assert errors
    assert all("before its first trial" in text for text in errors)
    assert {done.number for done in ended} == {0, 1}
    assert {done.result.state for done in ended} == {"interrupted"}
