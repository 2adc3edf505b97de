"""Documents of a run of release 0.1, in the words of today: today's types then read them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autocompress.documents import known_part, read_json, typed
from autocompress.errors import RunError
from autocompress.results import EpochRecord, StageResult
from autocompress.sentences import one_line

_STAGES = {"sparsify": "train", "draft": "estimate", "factorize late": "factorize_late"}


def stage_name(name: str) -> str:
    """Return the name that a stage of release 0.1 has today."""
    return _STAGES.get(name, name)


@contextmanager
def adapting(where: str) -> Iterator[None]:
    """Turn what goes wrong while a document is put into today's words into ``RunError``.

    Args:
        where: names the document.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}"
        raise RunError(one_line(f"{where} is damaged: {what}")) from error


def curve_in(path: Path) -> tuple[EpochRecord, ...]:
    """Return the curve that a file holds; empty where it is missing."""
    rows = read_json(path) if path.exists() else []
    with adapting(str(path)):
        plain = [
            {**_renamed(row, score="accuracy"), "stage": stage_name(row["stage"])} for row in rows
        ]
    return typed(tuple[EpochRecord, ...], plain, f"{path} is damaged")


def stages_in(path: Path, seconds: Mapping[str, float]) -> tuple[StageResult, ...]:
    """Return what each stage led to; empty where the file is missing.

    Args:
        path: of the file.
        seconds: by stage, under its name of today.
    """
    rows = read_json(path) if path.exists() else []
    with adapting(str(path)):
        plain = [
            {
                "steps": 0,
                **_renamed(row, score="accuracy"),
                "stage": stage_name(row["stage"]),
                "seconds": seconds.get(stage_name(row["stage"]), 0.0),
            }
            for row in rows
        ]
    known = known_part(StageResult, plain)
    return typed(tuple[StageResult, ...], known, f"{path} is damaged")


def final_stage(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a final evaluation."""
    return {
        "stage": stage_name(row["stage"]),
        "score": row["accuracy"],
        "parameters": row["parameters"],
        "latency_ms": row.get("latency_ms"),
    }


def _renamed(row: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Return a row with a new name for each old one."""
    new = {old: name for name, old in names.items()}
    return {new.get(key, key): value for key, value in row.items()}
