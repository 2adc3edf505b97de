"""Which knobs of a study matter, to which objective, and which way they pull."""

import warnings

import numpy as np
import optuna
import pandas as pd

from autocompress.search.samplers import is_harvested

MIN_TRIALS = 8  # with values: below, importances are noise
COLUMNS = ("objective", "knob", "importance", "correlation")


def importances(study: optuna.Study, objectives: dict[str, str]) -> pd.DataFrame:
    """Return how much each knob matters to each objective.

    Harvested trials are left out: no knob says what tells them from their parents.

    Importances are those of PED-ANOVA (Watanabe et al. 2023): what tells the best tenth of the
    trials from the rest. It minimises, so an objective that is maximised is negated.

    Args:
        study: with at least ``MIN_TRIALS`` complete trials; else the table is empty.
        objectives: metric to ``"maximize"`` or ``"minimize"``, in the order of the values.

    Returns:
        columns ``COLUMNS``: fractions that sum to 1 per objective, and the rank correlation
        (Spearman) of knob and objective in [-1, 1], NaN for a choice or a knob that never varies.
    """
    from optuna.importance import (  # loaded here: it brings scikit-learn
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    complete = [trial for trial in ended if not is_harvested(trial)]
    if len(complete) < MIN_TRIALS:
        return pd.DataFrame(columns=list(COLUMNS))
    if len(complete) < len(ended):
        study = optuna.create_study(directions=study.directions)
        study.add_trials(complete)
    rows = []
    for index, (objective, way) in enumerate(objectives.items()):
        sign = -1.0 if way == "maximize" else 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it reminds of the sign that is set here
            found = get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=lambda trial, i=index, s=sign: s * trial.values[i],  # type: ignore[misc]
            )
        total = sum(found.values()) or 1.0
        rows += [
            (objective, knob, value / total, _correlation(complete, knob, index))
            for knob, value in found.items()
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _correlation(trials: list[optuna.trial.FrozenTrial], knob: str, index: int) -> float:
    pairs = [(trial.params[knob], trial.values[index]) for trial in trials if knob in trial.params]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v, _ in pairs):
        return float("nan")
    frame = pd.DataFrame(pairs, dtype=float).rank()
    if len(frame) < MIN_TRIALS or (frame.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(frame[0], frame[1])[0, 1])
