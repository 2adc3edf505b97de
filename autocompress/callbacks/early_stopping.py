"""Ends trials that can no longer enter the feasible front."""

from collections.abc import Sequence

from torch import nn

from autocompress.callbacks.estimate import EstimateStructure
from autocompress.callbacks.prediction import Completed, Running, by_stage, decide
from autocompress.context import Context
from autocompress.metrics import Estimate, Metric
from autocompress.recipe import Recipe
from autocompress.results import EpochRecord, Estimates, Failure, Rival
from autocompress.trial import PrunedError, TrialCallback


def is_predictable(score: Metric) -> bool:
    """Return whether the end of a training can be predicted from a score: shares of errors are.

    Args:
        score: the task's first.
    """
    return score.format == "fraction" and score.direction == "maximize"


class StopEarly(TrialCallback):
    """Ends a trial that can no longer enter the feasible front; its score is predictable."""

    def __init__(
        self,
        recipe: Recipe,
        context: Context,
        rivals: Sequence[Rival],
        estimate: EstimateStructure | None,
    ) -> None:
        """Get ready.

        Args:
            recipe: of the trial.
            context: what all trials share.
            rivals: the complete trials so far.
            estimate: knows the structure; without one only a limit on the score ends the trial.
        """
        training = recipe.training
        self.planned = {"train": training.epochs, "recover": training.recovery_epochs}
        self.context, self.estimate = context, estimate
        self.points: list[tuple[str, float]] = []
        self.finished = [_finished(rival, context) for rival in rivals]

    def epoch(self, record: EpochRecord, model: nn.Module) -> None:
        """Decide whether the trial is still worth its time.

        Raises:
            PrunedError: it is not.
        """
        self.points.append((record.stage, record.score))
        score = self.context.problem.task.score
        known = self._known()
        decision = decide(
            Running(curve=by_stage(self.points), planned=self.planned, costs=self._costs(known)),
            [trial for trial in self.finished if trial.curve],
            items=self.context.problem.data.sizes["valid"],
            lowest_score=self.context.limits.bounds(self.context.baseline_metrics).get(score.name),
        )
        if decision.stop:
            failure = Failure(
                stage=record.stage,
                reason=decision.reason,
                bound=decision.bound,
                dominated_by=decision.dominated_by,
                epoch=decision.epoch,
            )
            seen = {score.name: Estimate(value=record.score)}
            raise PrunedError(failure, {**known, **seen})

    def _known(self) -> Estimates:
        found = None if self.estimate is None else self.estimate.found
        return {} if found is None else found.metrics

    def _costs(self, known: Estimates) -> dict[str, float]:
        found = None if self.estimate is None else self.estimate.found
        if found is None or not found.exact:
            return {}
        score, objectives = self.context.problem.task.score, self.context.objectives
        return {
            m.name: m.sign * known[m.name].value
            for m in objectives
            if m.name != score.name and m.name in known
        }


def _finished(rival: Rival, context: Context) -> Completed:
    score = context.problem.task.score
    return Completed(
        number=rival.number,
        curve=by_stage((point.stage, point.score) for point in rival.curve),
        score=rival.score,
        costs={
            m.name: m.sign * rival.values[m.name]
            for m in context.objectives
            if m.name != score.name
        },
        feasible=rival.feasible,
    )
