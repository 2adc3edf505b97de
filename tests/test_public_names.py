"""What ``autocompress`` offers: names that are loaded when they are first used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import autocompress

SOURCE = Path(autocompress.__file__)


def imported_for_types():
    """Return the names of the block that type checkers read, with the module of each."""
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module for node in block.body for alias in node.names}


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_type_checkers_see_what_is_offered():
    assert sorted(imported_for_types()) == sorted(autocompress.__all__)


@pytest.mark.parametrize("name", autocompress.__all__)
def test_each_name_is_what_its_module_calls_so(name):
    module = imported_for_types()[name]
    found = getattr(autocompress, name)
    if module == "autocompress":
        assert found.__name__ == f"autocompress.{name}"
    else:
        __import__(module)
        assert found is getattr(sys.modules[module], name)


@pytest.mark.parametrize("module", ["", ".figures", ".testing"])
def test_names_that_complete_are_those_that_are_offered(module):
    found = importlib.import_module(f"autocompress{module}")
    assert dir(found) == sorted(found.__all__)


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="module 'autocompress' has no attribute 'serach'"):
        _ = autocompress.serach


def test_importing_loads_nothing_but_the_package():
    script = "import sys, autocompress; print(*(n for n in sys.modules if 'autocompress' in n))"
    assert run(script) == ["autocompress"]


def test_a_name_is_the_function_whatever_was_imported_before():
    """Some functions are called like a module, which an import puts in their place."""
    script = """
import importlib, pkgutil, autocompress
for module in ("autocompress.study.objects", "autocompress.study.run", "autocompress.bundles",
               "autocompress.metrics.metric", "autocompress.execution.jobs", "autocompress.cli"):
    importlib.import_module(module)
print(autocompress.search.__name__, autocompress.export.__name__, autocompress.metric.__name__)
print(*[name for name in autocompress.__all__ if name not in ("figures", "testing")
        and type(getattr(autocompress, name)).__name__ == "module"])
"""
    assert run(script) == ["search", "export", "metric"]
