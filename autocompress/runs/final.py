"""The final evaluation of a run, as it is stored: ``final.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autocompress.results import Estimates, Failure
from autocompress.short_repr import short_repr


@dataclass(frozen=True, kw_only=True)
class FinalStage:
    """What a model of the front was after a stage.

    Attributes:
        stage: its name, or a precision.
        score: the task's first score on ``valid``; ``None`` where it was not evaluated.
        parameters: elements of the tensors that are there.
        latency_ms: of the structure after the stage; ``None`` where it was not measured.
    """

    stage: str
    score: float | None
    parameters: int
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class FinalTrial:
    """The final evaluation of one trial.

    Attributes:
        metrics: what was measured again, and scores on the test split as ``test_NAME``.
        stages: what each stage led to, in order.
        failure: what went wrong with it; what was measured before that is kept.
    """

    metrics: Estimates = field(default_factory=dict)
    stages: tuple[FinalStage, ...] = ()
    failure: Failure | None = None


@short_repr
@dataclass(frozen=True, kw_only=True)
class Final:
    """The final evaluation of a run.

    Attributes:
        baseline: its scores on the test split.
        trials: those of the front, by number.
        complete: whether it came to its end: until then, what is measured is kept.
    """

    baseline: Estimates = field(default_factory=dict)
    trials: Mapping[int, FinalTrial] = field(default_factory=dict)
    complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        trials = {
            str(number): {
                "metrics": plain_estimates(trial.metrics),
                "stages": [asdict(stage) for stage in trial.stages],
                "failure": None if trial.failure is None else asdict(trial.failure),
            }
            for number, trial in self.trials.items()
        }
        baseline = plain_estimates(self.baseline)
        return {"complete": self.complete, "baseline": baseline, "trials": trials}


def plain_estimates(estimates: Estimates) -> dict[str, Any]:
    """Return estimates as plain data for JSON."""
    return {name: estimate.to_dict() for name, estimate in estimates.items()}
