"""What a session of a study begins with: how much is wanted, and what earlier sessions found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autocompress.config import StudyConfig
from autocompress.context import Context
from autocompress.documents import read_document
from autocompress.errors import ConfigurationError
from autocompress.runs import Run, layout
from autocompress.runs.header import HeaderDocument
from autocompress.runs.journal import Session, read_events
from autocompress.space.initial import initial_params
from autocompress.space.space import Space
from autocompress.study.budget import Amount
from autocompress.study.proposer import Proposer

RECIPES = "recipes"  # key of run.json: parameters of the recipes that a study begins with


def proposer_of(context: Context, run: Run) -> Proposer:
    """Return what proposes recipes, with all that earlier sessions found."""
    problem, space = context.problem, context.problem.config.space()
    proposer = Proposer(
        space,
        problem.objectives,
        context.limits,
        context.baseline_metrics,
        score=problem.task.score.name,
        sampler=problem.config.study.sampler,
        seed=problem.config.study.seed + len(run.trials()),
    )
    proposer.restore(run.trials())
    proposer.fidelity = _fidelity(run.path)
    _enqueue_initial(proposer, run, space)
    return proposer


def asked(config: StudyConfig, amount: Amount, folder: Path) -> tuple[int | None, float | None]:
    """Return the trials in all and the seconds of a session; ``None`` is no limit."""
    timeout_s = config.study.timeout_s if amount.timeout_s is None else amount.timeout_s
    if amount.trials is not None or amount.timeout_s is not None:
        return amount.trials, timeout_s  # without a number, as many as fit into the time
    before = [
        event.trials
        for event in read_events(folder / layout.JOURNAL)
        if isinstance(event, Session) and event.asked
    ]
    return (before[-1] if before else config.study.trials), timeout_s


def _fidelity(folder: Path) -> float:
    """Return the fraction of the epochs that trials of this run train."""
    found = [
        event.fidelity
        for event in read_events(folder / layout.JOURNAL)
        if isinstance(event, Session) and event.fidelity is not None
    ]
    return found[-1] if found else 1.0


def _enqueue_initial(proposer: Proposer, run: Run, space: Space) -> None:
    """Enqueue what a study begins with, as far as earlier sessions have not tried it."""
    tried = sum(trial.origin == "initial" for trial in run.trials())
    given = read_document(HeaderDocument, run.path / layout.HEADER).recipes
    if given is None:
        wanted: list[tuple[str, Mapping[str, Any]]] = list(initial_params(space))
    else:
        wanted = [(f"given {index}", params) for index, params in enumerate(given)]
    for name, params in wanted[tried:]:
        proposer.enqueue(params, name)


def nearest_recipes(
    space: Space, recipes: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """Return the recipes that a study is to begin with, as its space can express them.

    Args:
        space: of the study.
        recipes: full sets of parameters; ``None``: those that every study begins with, which are
            not returned.

    Raises:
        ConfigurationError: a recipe asks for a name that the space does not have.
    """
    if recipes is None:
        return None
    found = []
    for recipe in recipes:
        nearest = space.nearest(recipe)
        if nearest is None:
            raise ConfigurationError(f"the search space cannot express the recipe {dict(recipe)}")
        found.append(dict(nearest))
    return found
