"""Which search parameters matter, to which objective, and which way they pull."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.metrics import Metric
from autocompress.metrics.pareto import costs
from autocompress.runs.stored import StoredTrial

if TYPE_CHECKING:
    import pandas as pd
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MIN_TRIALS = 8  # with values: below, importances are noise
COLUMNS = ("objective", "parameter", "importance", "correlation")


def importances(complete: "Sequence[FrozenTrial]", objectives: Sequence[Metric]) -> "pd.DataFrame":
    """Return how much each search parameter matters to each objective.

    Importances are those of PED-ANOVA (Watanabe et al. 2023): what distinguishes the best tenth of
    the trials from the rest.

    Args:
        complete: trials with a value per objective; of fewer than ``MIN_TRIALS`` the table is
            empty. Derived trials do not belong here: no parameter distinguishes them from their
            parents.
        objectives: in the order of the values.

    Returns:
        columns ``COLUMNS``: fractions that sum to 1 per objective, and the rank correlation
        (Spearman) of parameter and objective in [-1, 1], NaN for a choice or a parameter that
        never varies.
    """
    import pandas as pd

    rows: list[tuple[str, str, float, float]] = []
    if len(complete) >= MIN_TRIALS:
        for index, metric in enumerate(objectives):
            found = _ped_anova(complete, index, metric.sign)
            total = sum(found.values()) or 1.0
            rows += [
                (metric.name, name, value / total, _correlation(complete, name, index))
                for name, value in found.items()
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def frozen_trials(
    trials: Sequence[StoredTrial], objectives: Sequence[Metric], search: Mapping[str, Any]
) -> "list[FrozenTrial]":
    """Return the complete trials that were proposed, with the ranges of their parameters.

    Args:
        trials: of a run.
        objectives: of the search.
        search: parameter to a constant, a list, or a table ``{low, high, step, log}``; of one that
            it does not name, the range is that of the values that were proposed.
    """
    from optuna.trial import TrialState, create_trial

    wanted = {metric.name for metric in objectives}
    complete = [
        (trial, trial.result.metrics)
        for trial in trials
        if trial.parent is None
        and trial.result is not None
        and trial.result.state == "complete"
        and wanted <= trial.result.metrics.keys()
    ]
    names = dict.fromkeys(name for trial, _ in complete for name in trial.params)
    distributions: dict[str, BaseDistribution] = {}
    for name in names:
        values = [trial.params[name] for trial, _ in complete if name in trial.params]
        distribution = _distribution(values, search.get(name))
        if distribution is not None:
            distributions[name] = distribution
    made = []
    for trial, found in complete:
        params = {name: value for name, value in trial.params.items() if name in distributions}
        made.append(
            create_trial(
                state=TrialState.COMPLETE,
                values=[
                    metric.sign * cost
                    for metric, cost in zip(objectives, costs(found, objectives), strict=True)
                ],
                params=params,
                distributions={name: distributions[name] for name in params},
            )
        )
    return made


def _distribution(values: Sequence[Any], given: Any) -> "BaseDistribution | None":
    """Return a distribution that holds these values; ``None`` for a constant."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not all(isinstance(value, str | int | float | None) for value in values):
        return None
    known = given if isinstance(given, Mapping) else {}
    table = {end: number for end, number in known.items() if _is_number(number)}
    if not table and len({repr(value) for value in values}) < 2:
        return None
    if not all(map(_is_number, values)):
        return CategoricalDistribution(sorted(set(values), key=str))
    low, high = (
        min([table.get("low", values[0]), *values]),
        max([table.get("high", values[0]), *values]),
    )
    log = known.get("log") is True and low > 0
    if all(isinstance(value, int) for value in [low, high, *values]):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ped_anova(trials: "Sequence[FrozenTrial]", index: int, sign: int) -> dict[str, float]:
    import optuna
    from optuna.importance import (  # it brings scikit-learn
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize" for _ in trials[0].values])
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it reminds of the sign that is set here
        return get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(),
            target=lambda trial: sign * trial.values[index],
        )


def _correlation(trials: "Sequence[FrozenTrial]", name: str, index: int) -> float:
    import numpy as np
    import pandas as pd

    pairs = [(trial.params[name], trial.values[index]) for trial in trials if name in trial.params]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v, _ in pairs):
        return float("nan")
    frame = pd.DataFrame(pairs, dtype=float).rank()
    if len(frame) < MIN_TRIALS or (frame.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(frame[0], frame[1])[0, 1])
