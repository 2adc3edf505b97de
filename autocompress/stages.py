"""What each stage of a recipe took, and what it led to."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from autocompress.errors import failing_as
from autocompress.graph import plan_of
from autocompress.targets.size import count_parameters


@dataclass(frozen=True)
class StageResult:
    """What a model was after a stage.

    Attributes:
        stage: its name.
        accuracy: on ``valid``; None where it was not evaluated.
        parameters: elements of the tensors that are there, zeros included.
        steps: how many steps of the plan were taken by then.
    """

    stage: str
    accuracy: float | None
    parameters: int
    steps: int


def together(*clocks: Mapping[str, float]) -> dict[str, float]:
    """Add up seconds by stage."""
    total: dict[str, float] = {}
    for seconds in clocks:
        for stage, spent in seconds.items():
            total[stage] = total.get(stage, 0.0) + spent
    return total


class StageLog:
    """Times stages and notes their results; what goes wrong in one fails the trial by its name.

    Args:
        results: of stages that ran before, in another job.

    Attributes:
        seconds: wall-clock time per stage.
        results: what each stage led to, in order.
    """

    def __init__(self, results: Iterable[StageResult] = ()) -> None:
        self.seconds: dict[str, float] = {}
        self.results = [*results]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside.

        Raises:
            TrialError: it failed.
        """
        start = time.perf_counter()
        with failing_as(name):
            yield
        self.seconds[name] = time.perf_counter() - start

    def note(self, stage: str, model: nn.Module, accuracy: float | None) -> None:
        """Note what a stage led to."""
        steps = len(plan_of(model).steps)
        self.results.append(StageResult(stage, accuracy, count_parameters(model), steps))

    def note_exact(self, stage: str, model: nn.Module) -> None:
        """Note what an exact stage led to: its accuracy is that of the stage before."""
        self.note(stage, model, self.results[-1].accuracy if self.results else None)
