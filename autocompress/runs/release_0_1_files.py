"""Stages and curves as release 0.1 wrote them, in the words of today."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.artifacts import read_json
from autocompress.results import EpochRecord, StageResult
from autocompress.runs.final import FinalStage

_STAGES = {"sparsify": "train", "draft": "estimate", "factorize late": "factorize_late"}


def stage_name(name: str) -> str:
    """Return the name that a stage of release 0.1 has today."""
    return _STAGES.get(name, name)


def curve_in(path: Path) -> tuple[EpochRecord, ...]:
    """Return the curve that a file holds; empty where it is missing."""
    rows = read_json(path) if path.exists() else []
    return tuple(
        EpochRecord(
            stage=stage_name(row["stage"]),
            epoch=row["epoch"],
            train_loss=row["train_loss"],
            valid_loss=row["valid_loss"],
            score=row["accuracy"],
        )
        for row in rows
    )


def stages_in(path: Path, seconds: Mapping[str, float]) -> tuple[StageResult, ...]:
    """Return what each stage led to; empty where the file is missing.

    Args:
        path: of the file.
        seconds: by stage, under its name of today.
    """
    rows = read_json(path) if path.exists() else []
    return tuple(
        StageResult(
            stage=stage_name(row["stage"]),
            seconds=seconds.get(stage_name(row["stage"]), 0.0),
            score=row["accuracy"],
            parameters=row["parameters"],
            steps=row.get("steps", 0),
        )
        for row in rows
    )


def final_stage(row: Mapping[str, Any]) -> FinalStage:
    """Return what a row of a final evaluation holds."""
    return FinalStage(
        stage=stage_name(row["stage"]),
        score=row["accuracy"],
        parameters=row["parameters"],
        latency_ms=row.get("latency_ms"),
    )
