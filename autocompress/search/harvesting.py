"""Finishes a trial's training run in other ways too, and adds what comes out to the study."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from autocompress.errors import DeviceLostError, TrialError
from autocompress.measurement.size import count_parameters
from autocompress.pipeline import CompressedModel, Trunk, branch, refinish
from autocompress.recipe import Recipe
from autocompress.search.limits import FINISHED
from autocompress.search.offshoots import (
    Offshoot,
    levels,
    lower_ranks,
    promising,
)
from autocompress.search.space import Space
from autocompress.search.workbench import OBJECTIVES, Workbench, values_of
from autocompress.stages import together

SHARE = 0.1  # of the time of a worker's trials that its harvests may cost
SIZE = list(OBJECTIVES).index("parameters")


@dataclass(frozen=True)
class Crop:
    """What a trial leaves for the harvest.

    Attributes:
        number: the trial.
        recipe: what it trained.
        params: the knobs that made the recipe.
        trunks: states of its first training run, by epoch.
        compressed: what came of it.
        each_s: seconds that the trial spent on surgery, evaluating, measuring and saving, as each
            of its offshoots will.
    """

    number: int
    recipe: Recipe
    params: Mapping[str, Any]
    trunks: Mapping[int, Trunk]
    compressed: CompressedModel
    each_s: float


class Harvester:
    """Adds trials that share another's training run.

    Args:
        space: of the study.
        bench: what all trials share.
    """

    def __init__(self, space: Space, bench: Workbench) -> None:
        self.space, self.bench = space, bench
        self._crop: Crop | None = None
        self._credit_s = 0.0

    def epochs(self, recipe: Recipe) -> set[int]:
        """Return after which epochs of its first training run a recipe's trunk is wanted."""
        if not self.bench.economy.harvest:
            return set()
        return {level.epoch for level in levels(recipe) if level.epoch is not None}

    def keep(self, crop: Crop, *, trial_s: float) -> None:
        """Keep a trial's crop until its study has noted that it is complete.

        Args:
            crop: what the trial leaves.
            trial_s: seconds that the trial took.
        """
        if self.bench.economy.harvest:
            self._crop = crop
            self._credit_s += SHARE * trial_s

    def gather(self, study: optuna.Study, parent: FrozenTrial) -> None:
        """Add what else a trial's training run yields, once the study has noted its end.

        Lower ranks are tried of trials on the front only: what beats a trial would most likely
        beat them too.
        """
        crop, self._crop = self._crop, None
        if crop is None or crop.number != parent.number:
            return
        made, start = crop.compressed, time.perf_counter()
        sizes = {int(parent.values[SIZE])}
        wanted = promising(levels(crop.recipe), made.curve)
        if leads(study, parent, self.bench.is_feasible):
            wanted = [*lower_ranks(crop.recipe, made.plan, self.space.exclude), *wanted]
        for index, offshoot in enumerate(wanted, 1):
            left_s = self._credit_s - (time.perf_counter() - start)
            if left_s < crop.each_s:
                break
            self.bench.follower.batch()  # whoever is told to stop stops here too
            name = f"{parent.number:05d}.{index}"
            trial = self._finished(parent, crop, offshoot, name, sizes)
            if trial is not None:
                study.add_trial(trial)
        self._credit_s -= time.perf_counter() - start

    def _finished(
        self, parent: FrozenTrial, crop: Crop, offshoot: Offshoot, name: str, sizes: set[int]
    ) -> FrozenTrial | None:
        """Finish it, judge and save what comes out; ``None`` for a size that is there already.

        So it is where no layer is worth a factorization, or where the lowest rank is reached.
        """
        bench, recipe = self.bench, offshoot.recipe
        params = self.space.harvested(crop.params, recipe, offshoot.fraction)
        facts: dict[str, Any] = {
            "harvested_from": parent.number,
            "folder": name,
            "params": params,
            "recipe": recipe.to_dict(),
        }
        try:
            compressed = self._made(crop, offshoot)
            size = count_parameters(compressed.model)
            if size in sizes:
                return None
            sizes.add(size)
            judgement = bench.judge(compressed.model, recipe.precision)
            facts["sha256"] = bench.save(name, recipe, compressed, judgement)
        except DeviceLostError:
            raise
        except TrialError as error:
            facts |= {"stage": error.stage, "reason": error.reason}
            return create_trial(state=TrialState.FAIL, user_attrs=facts)
        facts["metrics"] = judgement.metrics
        facts["seconds"] = together(compressed.seconds, judgement.seconds)
        return create_trial(
            values=values_of(judgement.metrics),
            params=self.space.nearest_of(params, parent.distributions),
            distributions=parent.distributions,
            user_attrs=facts,
            constraints={**bench.constraints(judgement.metrics), **FINISHED},
        )

    def _made(self, crop: Crop, offshoot: Offshoot) -> CompressedModel:
        bench, recipe = self.bench, offshoot.recipe
        if offshoot.epoch is None:
            return refinish(crop.compressed, recipe, bench.batches, anatomy=bench.anatomy)
        return branch(
            bench.baseline,
            recipe,
            crop.trunks[offshoot.epoch],
            bench.batches,
            teacher=bench.teacher,
            anatomy=bench.anatomy,
            seed=bench.seed,
            follower=bench.follower,
        )


def leads(
    study: optuna.Study, trial: FrozenTrial, is_feasible: Callable[[FrozenTrial], bool]
) -> bool:
    """Return whether a complete trial is feasible, and no other that is beats it."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rivals = [other for other in complete if is_feasible(other)]
    return is_feasible(trial) and not any(_beats(other, trial) for other in rivals)


def _beats(one: FrozenTrial, other: FrozenTrial) -> bool:
    signs = [-1 if direction == "maximize" else 1 for direction in OBJECTIVES.values()]
    gaps = [s * (a - b) for s, a, b in zip(signs, one.values, other.values, strict=True)]
    return all(gap <= 0 for gap in gaps) and any(gap < 0 for gap in gaps)
