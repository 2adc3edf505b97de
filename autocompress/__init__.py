"""autocompress: search for smaller, faster versions of a vision model, measured on your hardware.

Everything listed in ``__all__`` is loaded when it is first used: importing the package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress import figures
    from autocompress.config import StudyConfig, load_study
    from autocompress.deployment import deploy
    from autocompress.export import load
    from autocompress.graph import Plan, find_units, plan_of, rebuild
    from autocompress.pipeline import CompressedModel, compress
    from autocompress.recipe import Recipe
    from autocompress.study.controls import run_controls
    from autocompress.study.picks import Demands
    from autocompress.study.records import Run
    from autocompress.study.running import resume, run
    from autocompress.techniques.anatomy import Anatomy, examine
    from autocompress.techniques.distillation import Distillation
    from autocompress.techniques.factorization import Factorization, factorize
    from autocompress.techniques.folding import fold_batch_norms
    from autocompress.techniques.pruning import Pruning, prune
    from autocompress.techniques.sparsification import Sparsification, sparsify
    from autocompress.training.batches import BatchSettings, make_batches
    from autocompress.training.callbacks import KnowledgeDistillation, Sparsify
    from autocompress.training.fitting import Training

_HOMES = {
    "autocompress.config": ("StudyConfig", "load_study"),
    "autocompress.deployment": ("deploy",),
    "autocompress.export": ("load",),
    "autocompress.graph": ("Plan", "find_units", "plan_of", "rebuild"),
    "autocompress.pipeline": ("CompressedModel", "compress"),
    "autocompress.recipe": ("Recipe",),
    "autocompress.study.controls": ("run_controls",),
    "autocompress.study.picks": ("Demands",),
    "autocompress.study.records": ("Run",),
    "autocompress.study.running": ("resume", "run"),
    "autocompress.techniques.anatomy": ("Anatomy", "examine"),
    "autocompress.techniques.distillation": ("Distillation",),
    "autocompress.techniques.factorization": ("Factorization", "factorize"),
    "autocompress.techniques.folding": ("fold_batch_norms",),
    "autocompress.techniques.pruning": ("Pruning", "prune"),
    "autocompress.techniques.sparsification": ("Sparsification", "sparsify"),
    "autocompress.training.batches": ("BatchSettings", "make_batches"),
    "autocompress.training.callbacks": ("KnowledgeDistillation", "Sparsify"),
    "autocompress.training.fitting": ("Training",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Anatomy",
    "BatchSettings",
    "CompressedModel",
    "Demands",
    "Distillation",
    "Factorization",
    "KnowledgeDistillation",
    "Plan",
    "Pruning",
    "Recipe",
    "Run",
    "Sparsification",
    "Sparsify",
    "StudyConfig",
    "Training",
    "compress",
    "deploy",
    "examine",
    "factorize",
    "figures",
    "find_units",
    "fold_batch_norms",
    "load",
    "load_study",
    "make_batches",
    "plan_of",
    "prune",
    "rebuild",
    "resume",
    "run",
    "run_controls",
    "sparsify",
]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module("autocompress.figures")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'autocompress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
