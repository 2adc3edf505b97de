"""The samplers that a study may use, by name."""

import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from autocompress.registry import by_name

SETTLING_TRIALS = 8  # about as many as there are initial recipes, which no sampler proposed
WORTH = 4.0  # asks of the Gaussian process that a trial must last, for its better proposals to pay
ASK_S = "gp_ask_s"  # attribute of a study: the least seconds that an ask of the process took


def tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator, multivariate and grouped, for conditional spaces."""
    with warnings.catch_warnings():  # "group" may still change in Optuna; our tests would show it
        warnings.simplefilter("ignore", ExperimentalWarning)
        startup = SETTLING_TRIALS
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup)


def gp(seed: int) -> BaseSampler:
    """Gaussian process on the flat space; an ask takes a second or two of a CPU core."""
    return FreshGPSampler(seed)


class FreshGPSampler(GPSampler):
    """Optuna's, but the kernels are fitted from scratch at every ask.

    Optuna starts each fit from the kernels of the ask before. With as few trials as ours that is
    often a poor local optimum which no fit leaves again: in a study of Fashion-MNIST it went on
    to propose sparsities of 85 and 90 % after ten of them had failed, where kernels fitted from
    scratch to the same trials propose 60 to 70 %.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=SETTLING_TRIALS)
        self._asks_from = seed

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask a sampler that knows nothing of earlier asks."""
        seed = self._asks_from + trial.number
        fresh = GPSampler(seed=seed, n_startup_trials=SETTLING_TRIALS)
        return fresh.sample_relative(study, trial, search_space)


def nsga2(seed: int) -> BaseSampler:
    """Genetic search; needs hundreds of trials."""
    return NSGAIISampler(seed=seed)


def random(seed: int) -> BaseSampler:
    """Independent random recipes: the control that a sampler must beat."""
    return RandomSampler(seed=seed)


def auto(seed: int) -> BaseSampler:
    """``gp`` where a trial costs much more than an ask of it, else ``tpe``."""
    return CostAwareSampler(seed)


class CostAwareSampler(BaseSampler):
    """Asks the Gaussian process while a trial lasts much longer than such an ask, else TPE.

    What a trial costs follows from the last complete ones of the study; what an ask costs is
    measured, and noted in the study. Until the cost of a trial is known TPE is
    asked, on the flat space.
    """

    def __init__(self, seed: int) -> None:
        self._tpe, self._gp = tpe(seed), gp(seed)
        self._asked: tuple[int, BaseSampler] = (-1, self._tpe)  # trial, and who proposes it

    def prefers_gp(self, study: optuna.Study) -> bool | None:
        """Return whether the Gaussian process pays; ``None`` while the cost is not known."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        trained = [t for t in complete if was_trained(t)]
        seconds = [t.duration.total_seconds() for t in trained if t.duration is not None]
        if len(seconds) < SETTLING_TRIALS:
            return None
        ask_s = float(study.user_attrs.get(ASK_S, 0.0))  # known after the first ask
        return statistics.median(seconds[-SETTLING_TRIALS:]) >= WORTH * ask_s

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Choose who proposes this trial, and ask for the space."""
        self._asked = trial.number, self._gp if self.prefers_gp(study) else self._tpe
        return self._chosen(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Ask the chosen sampler; note the least that the Gaussian process takes.

        The least, for it is the machine that makes the same ask take longer.
        """
        chosen, start = self._chosen(trial), time.perf_counter()
        params = chosen.sample_relative(study, trial, dict(search_space))
        if chosen is self._gp and params:
            spent = time.perf_counter() - start
            study.set_user_attr(ASK_S, min(spent, study.user_attrs.get(ASK_S, spent)))
        return params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Ask the chosen sampler."""
        chosen = self._chosen(trial)
        return chosen.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Reseed both."""
        self._tpe.reseed_rng()
        self._gp.reseed_rng()

    def _chosen(self, trial: FrozenTrial) -> BaseSampler:
        number, sampler = self._asked
        return sampler if number == trial.number else self._tpe


SAMPLERS = by_name("sampler", auto, tpe, gp, nsga2, random)


def wants_flat(study: optuna.Study) -> bool:
    """Return whether the study's sampler wants every parameter in every trial, for now."""
    sampler = study.sampler
    if isinstance(sampler, CostAwareSampler):
        return sampler.prefers_gp(study) is not False
    return isinstance(sampler, GPSampler)


UNFINISHED = "unfinished"  # constraint of what was not trained to its end: it is on no front
PARENT = "parent"  # attribute of a trial that shares the training run of another


def was_trained(trial: FrozenTrial) -> bool:
    """Return whether a complete trial has a training run of its own, which went to its end."""
    return trial.constraints.get(UNFINISHED, -1.0) <= 0 and not is_derived(trial)


def is_derived(trial: FrozenTrial) -> bool:
    """Return whether a trial shares another's training run."""
    return PARENT in trial.user_attrs
