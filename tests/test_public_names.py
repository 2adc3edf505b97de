"""The public API: every name resolves, and none is hidden by a package of the same name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import autocompress as ac


def imported_for_types():
    tree = ast.parse(Path(ac.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    return {a.name for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}


def test_all_lists_what_type_checkers_see():
    assert sorted(ac.__all__) == sorted(imported_for_types())
    assert len(ac.__all__) == len(set(ac.__all__))


@pytest.mark.parametrize("name", ac.__all__)
def test_a_public_name_exists(name):
    assert getattr(ac, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        ac.serach  # noqa: B018


def test_search_and_export_are_functions_whatever_was_imported_before():
    script = (
        "import autocompress.study.run, autocompress.bundles.loading, autocompress as ac; "
        "assert callable(ac.search) and callable(ac.export) and callable(ac.load)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
