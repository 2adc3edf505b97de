"""The examples in docstrings run."""

import doctest
import importlib

import pytest

MODULES = (
    "pipeline",
    "registry",
    "techniques.factorization",
    "techniques.folding",
    "techniques.masks",
    "techniques.pruning",
    "techniques.sparsification",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    failed, tried = doctest.testmod(importlib.import_module(f"autocompress.{name}"))
    assert (failed, tried > 0) == (0, True)
