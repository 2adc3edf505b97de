"""The models of a run: their weights and plans, written once and checked when they are loaded."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from autocompress.artifacts import digest_of_folder, write_folder
from autocompress.documents import known_part, read_content, read_json, typed
from autocompress.errors import RunError
from autocompress.graph import Plan, rebuild
from autocompress.pipeline import State
from autocompress.results import EpochRecord, StageResult
from autocompress.runs import layout
from autocompress.sentences import one_line


def own_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's state on the CPU, tied tensors once, each with memory of its own."""
    state, seen = {}, set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor.detach().cpu().contiguous().clone()
    return state


def load_tensors(model: nn.Module, path: Path) -> None:
    """Load what ``own_tensors`` returned, saved as safetensors, into a model in place.

    Raises:
        RunError: the file is damaged or belongs to another model.
    """
    try:
        missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise RunError(one_line(f"{path} cannot be loaded: {error}")) from error
    tied = own_tensors(model).keys()
    if unexpected or set(missing) & tied:
        raise RunError(f"{path} does not belong to this model: {[*missing, *unexpected][:5]}")


def save_trial(
    run: Path,
    name: str,
    recipe: Mapping[str, Any],
    state: State,
    trainable: State,
    more: Mapping[str, Any],
) -> str:
    """Write the folder of a trial, whole or not at all.

    Args:
        run: the run's folder.
        name: of the trial's folder.
        recipe: as ``Recipe.to_dict`` writes it.
        state: the compressed network.
        trainable: the network after its last training, from which another trial may start; its
            plan is the beginning of the other one's.
        more: further files: name to bytes or plain data.

    Returns:
        sha256 of the folder.
    """
    files: dict[str, Any] = {
        **more,
        layout.RECIPE: recipe,
        layout.PLAN: state.plan.to_json().encode(),
        layout.WEIGHTS: save(own_tensors(state.model)),
        layout.CURVE: [asdict(record) for record in state.curve],
        layout.STAGES: [asdict(result) for result in state.stages],
    }
    if trainable.model is not state.model:
        metadata = {"steps": str(len(trainable.plan.steps))}
        files[layout.TRAINABLE] = save(own_tensors(trainable.model), metadata)
    return write_folder(layout.trial_folder(run, name), files)


def read_plan(folder: Path) -> Plan:
    """Return the plan of a trial."""
    path = folder / layout.PLAN
    return Plan.from_json(read_content(path), str(path))


def intact(folder: Path | None, sha256: str | None, title: str) -> Path:
    """Return the folder of a model, as it was when it was written.

    Args:
        folder: of the model; ``None`` where there is none.
        sha256: of the folder then; ``None`` where it was not noted.
        title: of the model, for messages: ``"trial 3"``.

    Raises:
        RunError: there is none (only complete trials have a model), or it was changed since.
    """
    if folder is None:
        raise RunError(f"{title} has no model: only complete trials have one")
    if not folder.is_dir():
        raise RunError(f"{folder} is missing; it held the model of {title}")
    if sha256 not in (None, digest_of_folder(folder)):
        raise RunError(
            f"{folder} is damaged: a file was changed, added or removed since {title} ended "
            "(its sha256 differs)"
        )
    return folder


def load_state(folder: Path, structure: nn.Module) -> State:
    """Rebuild the compressed model of a trial.

    Args:
        folder: of the trial, as ``intact`` returns it.
        structure: the baseline's network, with any weights; it becomes the trial's.

    Raises:
        RunError: the folder does not belong to this structure.
    """
    plan = read_plan(folder)
    rebuild(structure, plan)
    load_tensors(structure, folder / layout.WEIGHTS)
    return State(structure.eval(), plan, curve=_curve(folder), stages=_stages(folder))


def load_trainable(folder: Path, structure: nn.Module) -> State:
    """Rebuild the network of a trial after its last training: what another trial may start from.

    Args:
        folder: of the trial, as ``intact`` returns it.
        structure: the baseline's network, with any weights; it becomes the trial's.

    Raises:
        RunError: the folder does not belong to this structure, or is of release 0.1, which kept
            no trainable weights.
    """
    path, plan = folder / layout.TRAINABLE, read_plan(folder)
    if path.exists():
        plan = Plan(plan.steps[: _steps_of(path)])
    elif not (folder / layout.STAGES).exists():
        raise RunError(f"{folder} holds no trainable weights: it is of an older release")
    else:
        path = folder / layout.WEIGHTS
    rebuild(structure, plan)
    load_tensors(structure, path)
    return State(structure, plan)


def _steps_of(path: Path) -> int:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return int(file.metadata()["steps"])
    except (SafetensorError, OSError, TypeError, LookupError, ValueError) as error:
        raise RunError(one_line(f"{path} does not say its steps: {error}")) from error


def _curve(folder: Path) -> tuple[EpochRecord, ...]:
    path = folder / layout.CURVE
    return typed(tuple[EpochRecord, ...], _rows(path), f"{path} is damaged")


def _stages(folder: Path) -> tuple[StageResult, ...]:
    path = folder / layout.STAGES
    if not path.exists():
        return ()
    rows = [
        {"seconds": 0.0, **known_part(StageResult, row)} for row in _rows(path) if "steps" in row
    ]
    return typed(tuple[StageResult, ...], rows, f"{path} is damaged")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, also of release 0.1, which called the score an accuracy."""
    rows = typed(tuple[Mapping[str, Any], ...], read_json(path), f"{path} is damaged")
    return [{"score" if k == "accuracy" else k: v for k, v in row.items()} for row in rows]
