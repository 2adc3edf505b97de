"""Examples are imported by their path; what they register is forgotten afterwards."""

import importlib
import sys
from pathlib import Path

import pytest

import autocompress as ac

EXAMPLES = Path(__file__).parents[2] / "examples"
REGISTRIES = (ac.CRITERIA, ac.SCHEDULES, ac.DISTILLATION_LOSSES, ac.ALLOCATIONS)


@pytest.fixture(scope="module")
def example():
    """Import an example by its name."""
    known = [set(registry) for registry in REGISTRIES]
    stages = {stage.name for stage in ac.STAGES}
    modules = {file.stem for file in EXAMPLES.glob("*.py")}
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLES))
    for registry, names in zip(REGISTRIES, known, strict=True):
        for name in set(registry) - names:
            registry.unregister(name)
    for name in {stage.name for stage in ac.STAGES} - stages:
        ac.remove_stage(name)
    for name in modules & set(sys.modules):
        del sys.modules[name]


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command in this process; returns the exit code and all that is written."""
    from autocompress import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["autocompress", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, "".join(capsys.readouterr())

    return call
