"""Cells of a notebook that register something run again, alone and after the one above."""

import pytest

import autocompress as ac

CELLS = {
    "criterion": (
        ac.CRITERIA, "def added(weight): return weight.abs()", "ac.CRITERIA.register(added)",
    ),
    "schedule": (
        ac.SCHEDULES, "def added(progress): return progress", "ac.SCHEDULES.register(added)",
    ),
    "loss": (
        ac.DISTILLATION_LOSSES,
        "def added(student, teacher): return (student - teacher).square().mean()",
        "ac.DISTILLATION_LOSSES.register(added)",
    ),
    "allocation": (
        ac.ALLOCATIONS, "def added(params, analysis): return {}", "ac.ALLOCATIONS.register(added)",
    ),
    "technique": (
        None,
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Settings: strength: float = 0.5\n"
        "def added(model, settings, *, example): return model, ac.Report()",
        "ac.add_stage(ac.technique_stage(added, Settings), after='recover')",
    ),
    "stage": (
        None,
        "def function(state, recipe, work): return ac.Change(model=state.model)",
        "ac.add_stage(ac.Stage(name='added', function=function, wanted=bool), after='recover')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_runs_twice(kind):
    registry, defines, registers = CELLS[kind]
    notebook = {"__name__": "__main__", "ac": ac}
    try:
        for cell in (defines, registers, registers, defines, registers):
            exec(cell, notebook)
        if registry is not None:
            assert registry["added"] is notebook["added"]
        else:
            assert [stage.name for stage in ac.STAGES].count("added") == 1
    finally:
        if registry is not None:
            registry.unregister("added")
        else:
            ac.remove_stage("added")
