"""autocompress: search for smaller, faster versions of a vision model, measured on your hardware.

Everything listed in ``__all__`` is loaded when it is first used: importing the package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress import figures, testing
    from autocompress.added_stages import add_stage, remove_stage, technique_stage
    from autocompress.bundles import export, export_trial, load
    from autocompress.config import StudyConfig, load_study
    from autocompress.context import Context
    from autocompress.data import Data, as_data, load_data
    from autocompress.execution import Done, Executor, Job
    from autocompress.execution.inline import InlineExecutor
    from autocompress.execution.jobs import run_job
    from autocompress.execution.pool import LocalPool
    from autocompress.graph import Plan, find_units, rebuild
    from autocompress.metrics import Candidate, Estimate, Metric, metric
    from autocompress.pipeline import STAGES, Change, Stage, State, Work, compress
    from autocompress.printing import progress_printer
    from autocompress.recipe import Recipe
    from autocompress.results import TrialResult
    from autocompress.runs import Run
    from autocompress.settings import setting
    from autocompress.space.allocation import ALLOCATIONS
    from autocompress.space.space import Space
    from autocompress.study.controls import run_controls
    from autocompress.study.objects import search
    from autocompress.study.run import resume_run, run_study
    from autocompress.targets import Artifact, Calls, Effort, Session, Target, local_target
    from autocompress.tasks import (
        Mean,
        Score,
        Share,
        Task,
        classification,
        from_torchmetrics,
        regression,
        segmentation,
    )
    from autocompress.techniques.analysis import Analysis, analyze
    from autocompress.techniques.criteria import CRITERIA
    from autocompress.techniques.distillation import DISTILLATION_LOSSES, Distillation, Distiller
    from autocompress.techniques.factorization import Factorization, factorize
    from autocompress.techniques.folding import Folding, fold_batch_norms
    from autocompress.techniques.masks import hold_zeros
    from autocompress.techniques.pruning import Pruning, prune
    from autocompress.techniques.report import Report
    from autocompress.techniques.schedules import SCHEDULES
    from autocompress.techniques.sparsification import Sparsification, Sparsifier, sparsify
    from autocompress.training.callbacks import KnowledgeDistillation, Sparsify
    from autocompress.training.fitting import Training
    from autocompress.trial import TrialCallback, run_trial

_HOMES = {
    "added_stages": ("add_stage", "remove_stage", "technique_stage"),
    "config": ("StudyConfig", "load_study"),
    "context": ("Context",),
    "data": ("Data", "as_data", "load_data"),
    "execution": ("Done", "Executor", "Job"),
    "execution.inline": ("InlineExecutor",),
    "execution.jobs": ("run_job",),
    "execution.pool": ("LocalPool",),
    "bundles": ("export", "export_trial", "load"),
    "graph": ("Plan", "find_units", "rebuild"),
    "metrics": ("Candidate", "Estimate", "Metric", "metric"),
    "pipeline": ("STAGES", "Change", "Stage", "State", "Work", "compress"),
    "printing": ("progress_printer",),
    "recipe": ("Recipe",),
    "results": ("TrialResult",),
    "runs": ("Run",),
    "space.allocation": ("ALLOCATIONS",),
    "study.controls": ("run_controls",),
    "study.objects": ("search",),
    "study.run": ("resume_run", "run_study"),
    "space.space": ("Space",),
    "settings": ("setting",),
    "targets": ("Artifact", "Calls", "Effort", "Session", "Target", "local_target"),
    "tasks": (
        "Mean",
        "Score",
        "Share",
        "Task",
        "classification",
        "from_torchmetrics",
        "regression",
        "segmentation",
    ),
    "techniques.analysis": ("Analysis", "analyze"),
    "techniques.criteria": ("CRITERIA",),
    "techniques.distillation": ("DISTILLATION_LOSSES", "Distillation", "Distiller"),
    "techniques.factorization": ("Factorization", "factorize"),
    "techniques.folding": ("Folding", "fold_batch_norms"),
    "techniques.masks": ("hold_zeros",),
    "techniques.pruning": ("Pruning", "prune"),
    "techniques.report": ("Report",),
    "techniques.schedules": ("SCHEDULES",),
    "techniques.sparsification": ("Sparsification", "Sparsifier", "sparsify"),
    "training.callbacks": ("KnowledgeDistillation", "Sparsify"),
    "training.fitting": ("Training",),
    "trial": ("TrialCallback", "run_trial"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("figures", "testing")

__all__ = [
    "ALLOCATIONS",
    "CRITERIA",
    "DISTILLATION_LOSSES",
    "SCHEDULES",
    "STAGES",
    "Analysis",
    "Artifact",
    "Calls",
    "Candidate",
    "Change",
    "Context",
    "Data",
    "Distillation",
    "Distiller",
    "Done",
    "Effort",
    "Estimate",
    "Executor",
    "Factorization",
    "Folding",
    "InlineExecutor",
    "Job",
    "KnowledgeDistillation",
    "LocalPool",
    "Mean",
    "Metric",
    "Plan",
    "Pruning",
    "Recipe",
    "Report",
    "Run",
    "Score",
    "Session",
    "Share",
    "Space",
    "Sparsification",
    "Sparsifier",
    "Sparsify",
    "Stage",
    "State",
    "StudyConfig",
    "Target",
    "Task",
    "Training",
    "TrialCallback",
    "TrialResult",
    "Work",
    "add_stage",
    "analyze",
    "as_data",
    "classification",
    "compress",
    "export",
    "export_trial",
    "factorize",
    "figures",
    "find_units",
    "fold_batch_norms",
    "from_torchmetrics",
    "hold_zeros",
    "load",
    "load_data",
    "load_study",
    "local_target",
    "metric",
    "progress_printer",
    "prune",
    "rebuild",
    "regression",
    "remove_stage",
    "resume_run",
    "run_controls",
    "run_job",
    "run_study",
    "run_trial",
    "search",
    "segmentation",
    "setting",
    "sparsify",
    "technique_stage",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"autocompress.{name}")
    if name in _HOME_OF:
        found = getattr(importlib.import_module(f"autocompress.{_HOME_OF[name]}"), name)
        globals()[name] = found  # also where a module of this name was imported meanwhile
        return found
    raise AttributeError(f"module 'autocompress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
