"""Each kind of document with what reads it; edits are tried on copies."""

import resource
import shutil
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from autocompress.bundles.contents import Origin
from autocompress.bundles.verify import verify
from autocompress.recipe import Recipe

from little_bundles import CARD, export
from one_sentence import told

SEED, FEW, MANY = 2026, 2, 200
MOST_S, MOST_BYTES = 2, 200 * 2**20  # of reading one document


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A bundle of weights and plan, with what it would be made again from."""
    origin = Origin(
        study={"study": {"name": "digits", "trials": 3}, "data": {"source": "digits"}},
        trial=3,
        chain=(Recipe().to_dict(), Recipe(start=0).to_dict()),
        threads=(1, None),
        baseline_threads=1,
        baseline_sha256="0" * 64,
        machine={"cpu": "Example", "threads": 1},
    )
    folder = tmp_path_factory.mktemp("damaged") / "bundle"
    export(folder, card=replace(CARD, origin=origin), formats=(), verifier=verify)
    return folder


@pytest.fixture
def changeable(bundle, tmp_path):
    """A copy of the bundle."""
    return shutil.copytree(bundle, tmp_path / "copy")


@pytest.fixture(params=[FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"])
def examples(request):
    return request.param


@pytest.fixture
def try_edits(examples):
    """Try so many edits of a file; with many of them, each within time and memory."""

    def try_edits(path, edits_of, *reads, after=lambda: None):
        content = path.read_bytes()
        for read in reads:
            assert told(read) == "", "the document must be fine before"  # and all is imported

        @seed(SEED)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a failure as it was found: reading again takes long
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def check(data):
            path.write_bytes(data.draw(edits_of(content)))
            after()
            for read in reads:
                began, before = time.process_time(), _peak_bytes()
                told(read)
                if examples == MANY:
                    assert time.process_time() - began < MOST_S
                    assert _peak_bytes() - before < MOST_BYTES

        print(f"seed {SEED}, {examples} edits of {path.name}")  # noqa: T201
        try:
            check()
        finally:
            path.write_bytes(content)

    return try_edits


def _peak_bytes():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
