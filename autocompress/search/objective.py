"""One trial: sample a recipe, compress, measure, save. Optuna calls it once per trial."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import optuna
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from autocompress.artifacts import write_folder
from autocompress.errors import ConfigurationError, RunError, TrialError, failing_as
from autocompress.graph import Units
from autocompress.measurement.latency import Latency
from autocompress.measurement.layers import compare_layers
from autocompress.measurement.size import (
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)
from autocompress.pipeline import CompressedModel, compress, draft
from autocompress.recipe import Recipe
from autocompress.search.limits import Limits
from autocompress.search.space import Space
from autocompress.techniques.sparsification import Sparsifier
from autocompress.training.batches import Batches
from autocompress.training.evaluation import evaluate
from autocompress.training.fitting import Follower

OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "latency_ms": "minimize",
    "parameters": "minimize",
}


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What all trials of a run share.

    Attributes:
        baseline: the trained network that is compressed.
        baseline_metrics: its accuracy, latency and size.
        teacher: whom candidates learn from; ``None`` is the baseline.
        units: the baseline's removable units.
        batches: the data.
        measure: measures a candidate's latency, paired with the baseline.
        limits: what a candidate must keep to.
        folder: where each trial gets a folder.
        seed: what training derives from, the same in every trial.
        follower: hears of each training batch and epoch.
    """

    baseline: nn.Module
    baseline_metrics: Mapping[str, Any]
    teacher: nn.Module | None
    units: Units
    batches: Batches
    measure: Callable[[nn.Module], Latency]
    limits: Limits
    folder: Path
    seed: int
    follower: Follower | None = None


def size_metrics(model: nn.Module, example: torch.Tensor) -> dict[str, Any]:
    """Return parameters, nonzero parameters, MACs per image and bytes of a model."""
    macs = count_macs(model, example[:1])
    return {
        "parameters": count_parameters(model),
        "nonzero": count_nonzero(model),
        "macs": macs.total,
        "macs_uncounted": list(macs.uncounted),
        "size_bytes": state_bytes(model),
    }


class Objective:
    """Called by Optuna with a trial; returns accuracy, latency in ms, and parameters.

    Everything that a reader of the run needs is in the trial's attributes (small values) and in
    its folder (weights, plan, curve, samples).
    """

    def __init__(self, space: Space, bench: Workbench) -> None:
        self.space = space
        self.bench = bench

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, float]:
        """Run one trial.

        Raises:
            TrialError: it failed; stage and reason are in its attributes too.
            optuna.TrialPruned: it was not worth training; the reason is in its attributes.
        """
        params = self.space.sample(trial)
        trial.set_user_attr("params", params)
        try:
            recipe = self.space.recipe(params)
        except ConfigurationError as error:
            self._stop(trial, {}, str(error))
        trial.set_user_attr("recipe", recipe.to_dict())
        self._refuse_duplicate(trial, recipe)
        self._refuse_inapplicable(trial, recipe)
        try:
            self._refuse_too_large(trial, recipe)
            metrics = self._run(trial, recipe)
        except TrialError as error:
            self._record_failure(trial, error)
            raise
        self._constrain(trial, metrics)
        return metrics["accuracy"], metrics["latency_ms"], metrics["parameters"]

    def _run(self, trial: optuna.Trial, recipe: Recipe) -> dict[str, Any]:
        bench = self.bench
        compressed = compress(
            bench.baseline,
            recipe,
            bench.batches,
            teacher=bench.teacher,
            units=bench.units.groups,
            seed=bench.seed,
            follower=bench.follower,
        )
        metrics, latency = self._measure(compressed.model)
        trial.set_user_attr("metrics", metrics)
        trial.set_user_attr("seconds", dict(compressed.seconds))
        trial.set_user_attr("sha256", self._save(trial.number, recipe, compressed, latency))
        return metrics

    def _measure(self, model: nn.Module) -> tuple[dict[str, Any], Latency]:
        bench = self.bench
        with failing_as("measure"):
            evaluation = evaluate(model, bench.batches.valid)
            latency = bench.measure(model)
            sizes = size_metrics(model, bench.batches.example)
        metrics = {
            "accuracy": evaluation.accuracy,
            "latency_ms": latency.latency_ms,
            "latency_ratio": latency.ratio,
            "latency_ratio_low": latency.ratio_low,
            "latency_ratio_high": latency.ratio_high,
            "latency_flag": latency.flag,
            "parameter_ratio": sizes["parameters"] / bench.baseline_metrics["parameters"],
            **sizes,
        }
        return metrics, latency

    def _save(
        self, number: int, recipe: Recipe, compressed: CompressedModel, latency: Latency
    ) -> str:
        with failing_as("save"):
            return write_folder(
                self.bench.folder / f"{number:05d}",
                {
                    "recipe.json": recipe.to_dict(),
                    "plan.json": compressed.plan.to_json().encode(),
                    "weights.safetensors": save(own_tensors(compressed.model)),
                    "measurement.json": latency.to_dict(),
                    "curve.json": [asdict(record) for record in compressed.curve],
                    "layers.json": compare_layers(self.bench.baseline, compressed.model),
                },
            )

    def _refuse_duplicate(self, trial: optuna.Trial, recipe: Recipe) -> None:
        done = (optuna.trial.TrialState.COMPLETE,)
        for other in trial.study.get_trials(deepcopy=False, states=done):
            if other.user_attrs.get("recipe") == recipe.to_dict():
                self._stop(trial, {}, f"the same recipe as trial {other.number}")

    def _refuse_inapplicable(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Stop what cannot work on this model, such as batch-norm scales of single weights."""
        if recipe.sparsification is not None:
            try:
                Sparsifier(self.bench.baseline, recipe.sparsification, self.bench.units.groups)
            except ConfigurationError as error:
                self._stop(trial, {}, str(error))

    def _refuse_too_large(self, trial: optuna.Trial, recipe: Recipe) -> None:
        limits = self.bench.limits
        if limits.parameters is None and limits.parameter_ratio is None:
            return
        bench = self.bench
        model = draft(bench.baseline, recipe, bench.batches.example, bench.units.groups)
        count = count_parameters(model)
        known = {
            "parameters": count,
            "parameter_ratio": count / bench.baseline_metrics["parameters"],
        }
        broken = [name for name, by in self._violations(known).items() if by > 0]
        if broken:
            self._stop(trial, known, f"a draft of it has {count:,} parameters: over the limit")

    def _stop(self, trial: optuna.Trial, known: Mapping[str, Any], reason: str) -> NoReturn:
        trial.set_user_attr("stage", "draft")
        trial.set_user_attr("reason", reason)
        self._constrain(trial, known)
        raise optuna.TrialPruned(reason)

    def _violations(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        return self.bench.limits.violations(metrics, self.bench.baseline_metrics["accuracy"])

    def _constrain(self, trial: optuna.Trial, metrics: Mapping[str, Any]) -> None:
        for name, by in self._violations(metrics).items():
            trial.set_constraint(name, by)

    def _record_failure(self, trial: optuna.Trial, error: TrialError) -> None:
        trial.set_user_attr("stage", error.stage)
        trial.set_user_attr("reason", error.reason)
        trial.set_user_attr("traceback", "".join(traceback.format_exception(error))[-8000:])


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
        raise RunError(f"{path} cannot be loaded: {error}") from error
    tied = own_tensors(model).keys()
    if unexpected or set(missing) & tied:
        raise RunError(f"{path} does not belong to this model: {[*missing, *unexpected][:5]}")
