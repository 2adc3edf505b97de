"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

import autocompress

PACKAGE = Path(autocompress.__file__).parent
MODULES = sorted(
    ".".join(["autocompress", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert (failed, tried > 0) == (0, True)
