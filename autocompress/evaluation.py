"""Evaluate and measure one model: the only place where its metrics come from."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from torch import Tensor, nn

from autocompress.data import Data, Loader
from autocompress.errors import failing_as
from autocompress.metrics import Candidate, Estimate, Metric
from autocompress.results import Estimates
from autocompress.targets import (
    CALIBRATION_ITEMS,
    Artifact,
    Effort,
    Latency,
    LatencyBenchmark,
    Profiling,
    Session,
    Target,
    count_macs,
    count_nonzero,
    count_parameters,
    measure_alone,
)
from autocompress.tasks import Task
from autocompress.training.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model is worth.

    Attributes:
        metrics: scores on ``valid``, latency and size of the deployed model, and the user's own.
        latency: how the latency was measured.
        artifact: the deployed model.
        seconds: wall-clock time of deploying, evaluating and measuring.
    """

    metrics: Estimates
    latency: Latency
    artifact: Artifact
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates models of one study.

    Attributes:
        data: what they are scored on.
        task: how.
        target: where they are deployed.
        example: inputs of one call on the target.
        effort: how long latency is measured.
        profiling: how the layers of a network are timed, in PyTorch.
        own: metrics that the user added.
        benchmark: compares latency with the baseline; ``None`` before there is one.
    """

    data: Data
    task: Task
    target: Target
    example: Tensor
    effort: Effort
    profiling: Profiling = field(default_factory=Profiling)
    own: Sequence[Metric] = ()
    benchmark: LatencyBenchmark | None = None

    def prepare(self, model: nn.Module, precision: str = "fp32") -> Artifact:
        """Make what is deployed of a network in evaluation mode."""
        calibration = self.data.calibration(CALIBRATION_ITEMS)
        return self.target.prepare(model, precision, example=self.example, calibration=calibration)

    def open(self, artifact: Artifact) -> Session:
        """Make a deployed model ready to run."""
        return self.target.open(artifact, self.example)

    def score(
        self, model: nn.Module, session: Session, precision: str, loader: Loader
    ) -> Estimates:
        """Return all scores of the task over a split.

        A deployed model in float32 computes what the network computes, so that the network is
        scored, where training runs; at other precisions the deployed model is.
        """
        run: nn.Module | Callable[[Tensor], Any] = model if precision == "fp32" else session.run
        return evaluate(run, loader, self.task)

    def __call__(
        self,
        model: nn.Module,
        precision: str = "fp32",
        *,
        artifact: Artifact | None = None,
    ) -> Evaluation:
        """Deploy a model, score it on ``valid``, measure it.

        Args:
            model: in evaluation mode, on the device of the data.
            precision: of the deployed model.
            artifact: the deployed model, if there is one already.

        Raises:
            TrialError: it cannot be brought to this precision, or not be run.
        """
        clock = [time.perf_counter()]
        with failing_as("deploy"):
            deployed = artifact or self.prepare(model, precision)
            session = self.open(deployed)
            clock.append(time.perf_counter())
        try:
            with failing_as("evaluate"):
                scores = self.score(model, session, precision, self.data.valid)
                _refuse_infinite(scores)
                clock.append(time.perf_counter())
            with failing_as("measure"):
                latency = self.latency(session)
                measured = self._measured(model, session, deployed, latency)
                _refuse_infinite({"latency_ms": measured["latency_ms"]})
                clock.append(time.perf_counter())
        finally:
            with failing_as("measure"):
                session.close()
        names = ("deploy", "evaluate", "measure")
        seconds = {n: clock[i + 1] - clock[i] for i, n in enumerate(names)}
        return Evaluation(
            metrics={**scores, **measured}, latency=latency, artifact=deployed, seconds=seconds
        )

    def latency(self, session: Session, *, budget_s: float | None = None) -> Latency:
        """Measure a deployed model, paired with the baseline where there is one."""
        if self.benchmark is None:
            return measure_alone(self.target, session, self.effort)
        return self.benchmark.measure(session, budget_s=budget_s)

    def _measured(
        self, model: nn.Module, session: Session, deployed: Artifact, latency: Latency
    ) -> Estimates:
        sizes = {
            **size_metrics(model, self.data.example[:1]),
            "size_bytes": Estimate(value=deployed.size_bytes),
        }
        own = self.own_metrics(model, session, deployed)
        return {"latency_ms": latency.estimate, **sizes, **own}

    def own_metrics(self, model: nn.Module, session: Session, deployed: Artifact) -> Estimates:
        """Measure the metrics that the user added, each alone on the target.

        Raises:
            TrialError: one of them fails; the reason names it.
        """
        candidate = Candidate(model, session, self.example, deployed.size_bytes)
        found = {}
        for metric in self.own:
            with failing_as("measure", f"the metric {metric.name!r}"):
                assert metric.measure is not None
                with self.target.exclusive():
                    value = metric.measure(candidate)
                found[metric.name] = _as_estimate(value)
                _refuse_infinite({metric.name: found[metric.name]})
        return found


def _as_estimate(found: Any) -> Estimate:
    """Return what a metric of the user's measured, as an estimate.

    Raises:
        TypeError: it is neither a number nor an estimate.
    """
    if isinstance(found, Estimate):
        return found
    if isinstance(found, Real):
        return Estimate(value=float(found))
    raise TypeError(f"expected a number or an autocompress.Estimate, not {type(found).__name__}")


def _refuse_infinite(found: Estimates) -> None:
    """Refuse values that can be neither compared nor stored.

    Raises:
        ValueError: one is infinite or no number.
    """
    for name, estimate in found.items():
        if not math.isfinite(estimate.value):
            raise ValueError(f"the metric {name!r} is {estimate.value}; expected a finite number")


def size_metrics(model: nn.Module, example: Tensor) -> Estimates:
    """Return parameters, nonzero parameters and multiply-adds of a network.

    Args:
        model: any.
        example: one input, ``[1, ...]``.
    """
    macs = count_macs(model, example)
    uncounted = f"not counted: {', '.join(macs.uncounted)}" if macs.uncounted else None
    return {
        "parameters": Estimate(value=count_parameters(model)),
        "nonzero": Estimate(value=count_nonzero(model)),
        "macs": Estimate(value=macs.total, flag=uncounted),
    }
