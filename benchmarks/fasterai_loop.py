"""The loop that a user of FasterAI would write with Optuna: an arm of ``benchmarks/search.py``.

FasterAI's callbacks, pruner, decomposers and folder as its documentation shows them, fastai's
DataLoaders, a plain timing loop, Optuna's defaults. Baseline, data and epochs are read from
the same study file as for the other arms. When the time is up, every candidate is scored and
measured again by autocompress, so that all arms are compared by the same numbers.

Where FasterAI 0.4.1 fails or hurts, the loop does what its user would do on seeing that:
    - the criterion ``grad_crit`` (Taylor) is left out: SparsifyCallback needs ``update_weights``,
      which this function does not have;
    - the first convolution is not decomposed: with one input channel it would get rank 1;
    - layers are decomposed only where that makes them smaller;
    - schedules are copied: the library's own are shared objects that keep their state.
"""

import argparse
import contextlib
import copy
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fasterai.core import criteria, schedule
from fasterai.distill.distillation_callback import KnowledgeDistillationCallback
from fasterai.distill.losses import SoftTarget
from fasterai.misc.bn_folding import BN_Folder
from fasterai.misc.conv_decomposer import Conv_Decomposer
from fasterai.misc.fc_decomposer import FC_Decomposer
from fasterai.prune.pruner import Pruner
from fasterai.sparse.sparsify_callback import SparsifyCallback
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autocompress.config import load_study
from autocompress.context import Context, prepare
from autocompress.data.tensors import TensorData
from autocompress.events import ignore
from autocompress.problem import Problem, problem_from
from autocompress.targets import count_parameters
from autocompress.training.evaluation import evaluate

CRITERIA = ("large_final", "squared_final", "movement")
SCHEDULES = {"cosine": schedule.cos, "agp": schedule.agp, "one_cycle": schedule.one_cycle}
RANKS = (0.5, 0.75, 1.0)
CALLS, WARM_UP = 100, 10  # of the timing loop


def loaders(data: TensorData) -> DataLoaders:
    """Return fastai's DataLoaders of the same tensors, normalised once."""
    assert data.normalisation is not None
    normalised = data.normalisation.on(data.device)
    parts = [data.parts[name] for name in ("train", "valid")]
    sets = [TensorDataset(normalised(part.inputs), part.targets) for part in parts]
    return DataLoaders.from_dsets(*sets, bs=data.settings.batch_size, num_workers=0)


def timed_ms(model: nn.Module, example: Tensor) -> float:
    """Return the mean latency of 100 calls, in milliseconds."""
    model.eval()
    with torch.no_grad():
        for _ in range(WARM_UP):
            model(example)
        start = time.perf_counter()
        for _ in range(CALLS):
            model(example)
    return (time.perf_counter() - start) / CALLS * 1e3


class Loop:
    """The objective, and the candidates that it made."""

    def __init__(self, problem: Problem, baseline: nn.Module) -> None:
        assert isinstance(problem.data, TensorData)
        self.training = problem.config.training
        self.baseline = baseline
        self.dls = loaders(problem.data)
        self.example = problem.data.example[:1]
        self.candidates: dict[int, nn.Module] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, int]:
        """Run one trial: sparsify, prune, decompose, fine-tune, fold, score, time."""
        self.seconds = {}
        params = sample(trial)
        with contextlib.redirect_stdout(io.StringIO()):
            model = self._compress(copy.deepcopy(self.baseline), params)
            with self._stage("evaluate"):
                learner = Learner(self.dls, model, CrossEntropyLossFlat(), metrics=accuracy)
                with learner.no_bar(), learner.no_logging():
                    score = float(learner.validate()[1])
        with self._stage("measure"):
            latency = timed_ms(model, self.example)
        trial.set_user_attr("seconds", self.seconds)
        self.candidates[trial.number] = model
        return score, latency, sum(p.numel() for p in model.parameters())

    def _compress(self, model: nn.Module, params: dict[str, Any]) -> nn.Module:
        with self._stage("train"):
            thin = [sparsify(params)] if params["sparsity"] > 0 else []
            self._fit(model, self.training.epochs, params["learning_rate"], params, thin)
        with self._stage("shrink"):
            if params["sparsity"] > 0 and params["granularity"] == "filter":
                prune(model, params, self.example)
            model = decompose(model, params)
        with self._stage("recover"):
            rate = params["learning_rate"] * self.training.recovery_learning_rate
            self._fit(model, self.training.recovery_epochs, rate, params, [])
        folded: nn.Module = BN_Folder().fold(model.eval())
        return folded.eval()

    def _fit(
        self, model: nn.Module, epochs: int, rate: float, params: dict[str, Any], cbs: list[Any]
    ) -> None:
        if params["distillation"] == "soft_target":
            cbs = [*cbs, distil(copy.deepcopy(self.baseline), params)]
        learner = Learner(self.dls, model, CrossEntropyLossFlat(), metrics=accuracy, cbs=cbs)
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(epochs, rate, wd=self.training.weight_decay)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def sample(trial: optuna.Trial) -> dict[str, Any]:
    """Return the params of one trial, in the ranges of ``search_fashion.toml``."""
    params: dict[str, Any] = {"sparsity": trial.suggest_float("sparsity", 0.0, 0.9, step=0.05)}
    if params["sparsity"] > 0:
        for name, choices in {
            "granularity": ("filter", "kernel", "weight"),
            "scope": ("local", "global"),
            "criterion": CRITERIA,
            "schedule": tuple(SCHEDULES),
        }.items():
            params[name] = trial.suggest_categorical(name, choices)
    params["distillation"] = trial.suggest_categorical("distillation", ("none", "soft_target"))
    if params["distillation"] != "none":
        params["weight"] = trial.suggest_float("weight", 0.1, 0.9)
        params["temperature"] = trial.suggest_float("temperature", 1.0, 10.0)
    params["rank"] = trial.suggest_categorical("rank", RANKS)
    params["convolution_rank"] = trial.suggest_categorical("convolution_rank", RANKS)
    params["learning_rate"] = trial.suggest_float("learning_rate", 2e-3, 1e-2, log=True)
    return params


def sparsify(params: dict[str, Any]) -> SparsifyCallback:
    """Return the callback that zeroes groups of weights while the model trains."""
    return SparsifyCallback(
        params["sparsity"],
        params["granularity"],
        params["scope"],
        getattr(criteria, params["criterion"]),
        copy.copy(SCHEDULES[params["schedule"]]),
    )


def distil(teacher: nn.Module, params: dict[str, Any]) -> KnowledgeDistillationCallback:
    """Return the callback that brings in the teacher."""

    def loss(pred: Tensor, teacher_pred: Tensor, **_: Any) -> Tensor:
        found: Tensor = SoftTarget(pred, teacher_pred.detach(), T=params["temperature"])
        return found

    teacher.requires_grad_(requires_grad=False)
    return KnowledgeDistillationCallback(teacher, loss, weight=params["weight"])


def prune(model: nn.Module, params: dict[str, Any], example: Tensor) -> None:
    """Remove the filters with the smallest weights (the zeroed ones), in place.

    Criteria that compare with the weights before training have lost them by now.
    """
    Pruner(
        model,
        params["sparsity"],
        params["scope"],
        criteria.large_final,
        example_inputs=example,
    ).prune_model()


def decompose(model: nn.Module, params: dict[str, Any]) -> nn.Module:
    """Replace layers by two thin ones each, where that makes them smaller."""
    removed = 1 - params["convolution_rank"]
    layers = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.in_channels > 1 and min(layer.kernel_size) > 1
    ]
    if removed > 0:
        model = Conv_Decomposer().decompose(model, removed, method="svd", layers=layers)
    if params["rank"] < 1:
        smaller = FC_Decomposer().decompose(model, 1 - params["rank"])
        if count_parameters(smaller) < count_parameters(model):
            model = smaller
    return model


def measured_again(
    loop: Loop, trial: optuna.trial.FrozenTrial, context: Context, started: float
) -> dict[str, Any]:
    """Return one trial as plain data, scored and measured by autocompress if it has a model."""
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    facts: dict[str, Any] = {
        "state": "complete" if trial.number in loop.candidates else "failed",
        "reason": trial.user_attrs.get("reason"),
        "finished_s": trial.datetime_complete.timestamp() - started,
        "wall_s": (trial.datetime_complete - trial.datetime_start).total_seconds(),
        "seconds": trial.user_attrs.get("seconds", {}),
        "params": trial.params,
    }
    if facts["state"] == "failed":
        return facts
    model = loop.candidates[trial.number]
    problem, evaluator = context.problem, context.evaluator
    session = evaluator.open(evaluator.prepare(model))
    try:
        latency = evaluator.latency(session)
    finally:
        session.close()
    parameters = count_parameters(model)
    return facts | {
        "accuracy": evaluate(model, problem.data.valid, problem.task)["accuracy"].value,
        "latency_ratio": latency.ratio,
        "parameter_ratio": parameters / context.baseline_metrics["parameters"].value,
        "as_the_loop_saw_it": trial.values,
    }


def main() -> None:
    """Run the arm and write its trials as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--started", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_study(options.study, options.overrides)
    problem = problem_from(config)
    set_seed(config.study.seed)
    baseline = problem.model.initial().eval()
    loop = Loop(problem, baseline)

    def attempt(trial: optuna.Trial) -> tuple[float, float, int]:
        try:
            return loop(trial)
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}"[:500])
            raise

    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    left = options.seconds - (time.time() - options.started)
    study.optimize(attempt, timeout=left, catch=(Exception,))

    options.output.parent.mkdir(parents=True, exist_ok=True)
    context = prepare(problem, options.output.parent / "measured", ignore)
    document = {
        "baseline": {"accuracy": context.baseline_metrics["accuracy"].value},
        "ready_s": min(t.datetime_start.timestamp() for t in study.trials if t.datetime_start)
        - options.started,
        "sampler": type(study.sampler).__name__,
        "trials": [measured_again(loop, t, context, options.started) for t in study.trials],
    }
    options.output.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
