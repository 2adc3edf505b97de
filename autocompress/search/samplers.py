"""The samplers that a study may use, by name."""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from autocompress.registry import by_name


def tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator, multivariate and grouped, for conditional spaces."""
    with warnings.catch_warnings():  # "group" may still change in Optuna; our tests would tell
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=8)


def gp(seed: int) -> BaseSampler:
    """Gaussian process on the flat space; a second per ask, for trials that take minutes."""
    return GPSampler(seed=seed)


def nsga2(seed: int) -> BaseSampler:
    """Genetic search; needs hundreds of trials."""
    return NSGAIISampler(seed=seed)


def random(seed: int) -> BaseSampler:
    """Independent random recipes: the control that a sampler must beat."""
    return RandomSampler(seed=seed)


SAMPLERS = by_name("sampler", tpe, gp, nsga2, random)
FLAT = frozenset({"gp"})  # samplers that want every knob in every trial
