"""The benchmarks can be imported, and what their functions import exists: nothing is run."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
EXTRA = {"dashboard": "playwright", "fasterai_loop": "fasterai"}
OURS = ("autocompress", "benchmarks")
pytestmark = pytest.mark.filterwarnings("ignore")  # of fastai, when it is first imported


@pytest.fixture(autouse=True)
def _from_anywhere(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_there_are_benchmarks():
    assert len(SCRIPTS) > 10
    assert set(EXTRA) <= {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_benchmark_can_be_imported(script):
    package = EXTRA.get(script.stem)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    importlib.import_module(f"benchmarks.{script.stem}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_names_that_a_benchmark_imports_exist(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(OURS):
            continue
        for alias in node.names:
            if not _exists(node.module, alias.name):
                pytest.fail(f"{script.name}:{node.lineno}: no {alias.name} in {node.module}")


def _exists(module, name):
    if importlib.util.find_spec(module) is None:
        return False
    spec = importlib.util.find_spec(f"{module}.{name}") if _is_package(module) else None
    return spec is not None or hasattr(importlib.import_module(module), name)


def _is_package(module):
    return importlib.util.find_spec(module).submodule_search_locations is not None
