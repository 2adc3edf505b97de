"""What all trials of a run share: the baseline, the data, the ruler; and how a model is judged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from optuna.trial import FrozenTrial
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from autocompress.artifacts import write_folder
from autocompress.conversion.precision import Precision
from autocompress.deployment import deploy
from autocompress.errors import RunError, failing_as
from autocompress.measurement.latency import Latency, Ruler
from autocompress.measurement.layers import compare_layers
from autocompress.measurement.profile import profile_layers
from autocompress.measurement.size import (
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)
from autocompress.pipeline import CompressedModel, compress
from autocompress.recipe import Recipe
from autocompress.search.limits import Limits, is_finished
from autocompress.techniques.anatomy import Anatomy
from autocompress.training.batches import Batches
from autocompress.training.evaluation import score
from autocompress.training.fitting import Follower

INT8_FILE = "model.int8.onnx"  # in the folder of a candidate that is deployed in int8
OBJECTIVES: Mapping[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "latency_ms": "minimize",
    "parameters": "minimize",
}


def values_of(metrics: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return a candidate's objectives, in the order of ``OBJECTIVES``."""
    return metrics["accuracy"], metrics["latency_ms"], metrics["parameters"]


@dataclass(frozen=True, kw_only=True)
class Economy:
    """What the search does to save time; each can be left out, to see what it is worth.

    Attributes:
        draft: draw each recipe's structure first, and end where it breaks a limit.
        early_stopping: end trials that can no longer enter the front.
        harvest: finish training runs in several ways.
    """

    draft: bool = True
    early_stopping: bool = True
    harvest: bool = True


@dataclass(frozen=True)
class Judgement:
    """What a model is worth.

    Attributes:
        metrics: accuracy on ``valid``, latency and bytes of the deployed model; parameters.
        latency: how the latency was measured.
        profile: where a call's time goes, by layer, in the float32 model beside the baseline.
        seconds: wall-clock time of bringing it to its precision, evaluating and measuring.
        onnx: content of the ONNX file that was judged; ``None`` where it was the network.
    """

    metrics: Mapping[str, Any]
    latency: Latency
    profile: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    onnx: bytes | None


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What all trials of a run share.

    Attributes:
        baseline: the trained network that is compressed.
        baseline_metrics: its accuracy, latency and size.
        teacher: whom candidates learn from; ``None`` is the baseline.
        anatomy: what surgery can do to the baseline.
        batches: the data.
        ruler: measures a candidate's latency, paired with the baseline.
        limits: what a candidate must keep to.
        economy: how the search saves time.
        folder: where each candidate gets a folder.
        seed: what training derives from, the same in every trial.
        follower: hears of each training batch and epoch.
    """

    baseline: nn.Module
    baseline_metrics: Mapping[str, Any]
    teacher: nn.Module | None
    anatomy: Anatomy
    batches: Batches
    ruler: Ruler
    limits: Limits
    economy: Economy
    folder: Path
    seed: int
    follower: Follower

    def compress(self, recipe: Recipe, follower: Follower | None = None) -> CompressedModel:
        """Apply a recipe to the baseline, as every trial of the run does.

        Raises:
            TrialError: a stage failed; it names the stage and the reason.
        """
        return compress(
            self.baseline,
            recipe,
            self.batches,
            teacher=self.teacher,
            anatomy=self.anatomy,
            seed=self.seed,
            follower=follower,
        )

    def judge(self, model: nn.Module, precision: Precision) -> Judgement:
        """Deploy a model, evaluate what comes out on ``valid``, and measure it.

        Args:
            model: in evaluation mode, on the device of the data.
            precision: of the deployed model.

        Raises:
            TrialError: it cannot be brought to this precision, or not be run.
        """
        ruler, clock = self.ruler, [time.perf_counter()]
        device = ruler.settings.torch_device()
        with failing_as("deploy"):
            deployed = deploy(model, precision, self.batches, device=device)
            clock.append(time.perf_counter())
        with failing_as("evaluate"):
            accuracy = score(deployed.run, self.batches.valid).accuracy
            clock.append(time.perf_counter())
        with failing_as("measure"):
            latency = ruler.measure(deployed.artifact)
            profile = profile_layers(self.baseline, model, ruler.example, ruler.settings)
            sizes = size_metrics(model, self.batches.example)
            clock.append(time.perf_counter())
        metrics = {
            "accuracy": accuracy,
            **latency_metrics(latency),
            "parameter_ratio": sizes["parameters"] / self.baseline_metrics["parameters"],
            **sizes,
            "size_bytes": deployed.size_bytes,
        }
        spent = [end - start for start, end in pairwise(clock)]
        seconds = dict(zip(("deploy", "evaluate", "measure"), spent, strict=True))
        onnx = deployed.artifact if isinstance(deployed.artifact, bytes) else None
        return Judgement(metrics, latency, profile, seconds, onnx)

    def save(
        self, name: str, recipe: Recipe, compressed: CompressedModel, judgement: Judgement
    ) -> str:
        """Write a candidate's folder; return its sha256.

        Raises:
            TrialError: it cannot be written.
        """
        onnx = {} if judgement.onnx is None else {INT8_FILE: judgement.onnx}
        with failing_as("save"):
            return write_folder(
                self.folder / name,
                {
                    **onnx,
                    "recipe.json": recipe.to_dict(),
                    "plan.json": compressed.plan.to_json().encode(),
                    "weights.safetensors": save(own_tensors(compressed.model)),
                    "measurement.json": judgement.latency.to_dict(),
                    "curve.json": [asdict(record) for record in compressed.curve],
                    "stages.json": _stages(compressed, judgement, recipe.precision),
                    "layers.json": compare_layers(self.baseline, compressed.model),
                    "profile.json": judgement.profile,
                },
            )

    def constraints(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much each limit is broken; 0 or less is kept, or not known."""
        return self.limits.constraints(metrics, self.baseline_metrics["accuracy"])

    def is_feasible(self, trial: FrozenTrial) -> bool:
        """Return whether a complete trial was trained to its end and keeps the limits.

        The limits as they are now: those of a run may have been edited since the trial ended.
        """
        broken = self.constraints(trial.user_attrs.get("metrics", {}))
        return is_finished(trial.constraints) and all(by <= 0 for by in broken.values())


def _stages(
    compressed: CompressedModel, judgement: Judgement, precision: Precision
) -> list[dict[str, Any]]:
    """Return what each stage led to; the last one is the deployed model, as it was judged."""
    rows = [asdict(stage) for stage in compressed.stages]
    if precision != "fp32" or not rows:
        rows.append({"stage": precision})
    known = zip(OBJECTIVES, values_of(judgement.metrics), strict=True)
    return [*rows[:-1], {**rows[-1], **dict(known)}]


def latency_metrics(latency: Latency) -> dict[str, Any]:
    """Return the metrics of a measured latency."""
    return {
        "latency_ms": latency.latency_ms,
        "latency_ratio": latency.ratio,
        "latency_ratio_low": latency.ratio_low,
        "latency_ratio_high": latency.ratio_high,
        "latency_ms_p10": latency.latency_ms * latency.p10_ms / latency.p50_ms,
        "latency_ms_p90": latency.latency_ms * latency.p90_ms / latency.p50_ms,
        "latency_flag": latency.flag,
    }


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
