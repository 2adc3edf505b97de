"""What a run begins with, and whether it can be gone on with: whole, and still the same study."""

import datetime
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from autocompress.artifacts import write_json
from autocompress.documents import read_document
from autocompress.errors import RunError
from autocompress.metrics.splits import on_test
from autocompress.problem import Problem, digests
from autocompress.runs import Run, layout
from autocompress.runs.header import Header, HeaderDocument
from autocompress.runs.opening import OLD_FORMAT, format_of
from autocompress.study.session import RECIPES
from autocompress.targets import differences


def refuse_old_format(folder: Path) -> None:
    """Refuse to add trials to a run of release 0.1."""
    if format_of(folder) == OLD_FORMAT:
        raise RunError(
            f"{folder} was written by autocompress 0.1, which kept its trials in another way: it "
            "can be read, reported and exported, but not gone on with; start a new run from its "
            f"{layout.STUDY}"
        )


def settle_changes(old: Run, problem: Problem) -> None:
    """Refuse what changed since a run began; before its first trial, what cost no training may.

    Raises:
        RunError: old and new trials could not be compared.
    """
    header = read_document(HeaderDocument, old.path / layout.HEADER)
    found = digests(problem)
    changed = [name for name, digest in header.digests.items() if found.get(name) != digest]
    if changed and not old.trials() and not _of_baseline(changed):
        document = header_document(problem, header.recipes)
        write_json(old.path / layout.HEADER, document)
        shutil.rmtree(old.path / layout.TEACHER, ignore_errors=True)
        (old.path / layout.BASELINE / layout.EVALUATION).unlink(missing_ok=True)
        return
    if changed:
        raise RunError(
            f"{old.path}: {', '.join(changed)} changed since this run began, so that old and new "
            f"trials could not be compared; undo the change in {layout.STUDY} or the data, or "
            "start a new run"
        )
    moved = differences(old.fingerprint, problem.target.fingerprint())
    if moved:
        raise RunError(
            f"{old.path}: its latencies were measured on other hardware or software "
            f"({'; '.join(moved)}); start a new run here"
        )


def _of_baseline(names: Sequence[str]) -> bool:
    """Return whether any of these digests is of what the baseline is trained with."""
    return any(
        name.partition(".")[0] in ("model", "data", "task", "training") or name == "study.seed"
        for name in names
    )


def header_document(
    problem: Problem, recipes: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Return what ``run.json`` holds."""
    return {
        **_header(problem).to_dict(),
        "digests": digests(problem),
        "versions": _versions(),
        "made_in": str(Path.cwd()),
        RECIPES: recipes,
    }


def _header(problem: Problem) -> Header:
    scores = [score.metric for score in problem.task.scores]
    metrics = (*problem.metrics, *map(on_test, scores))
    return Header(
        name=problem.config.study.name,
        created=datetime.datetime.now(datetime.UTC),
        objectives=problem.objectives,
        score=problem.task.score,
        metrics={metric.name: metric for metric in metrics},
        task=problem.task.name,
        sizes=problem.data.sizes,
        fingerprint=problem.target.fingerprint(),
    )


def _versions() -> dict[str, str]:
    names = ("autocompress", "torch", "optuna")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }
