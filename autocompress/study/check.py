"""Check a study before it runs: ``autocompress plan``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autocompress.config import StudyConfig
from autocompress.context import evaluator_of, structure_of
from autocompress.errors import ConfigurationError, TrialError
from autocompress.graph import find_units
from autocompress.model_check import check_call, check_model, check_same_structure
from autocompress.problem import Network, Problem, problem_from
from autocompress.reading import plain
from autocompress.runs.stored import Structure
from autocompress.targets import count_parameters
from autocompress.user_code import user_traceback


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What ``plan`` finds out about data.

    Attributes:
        source: as the study names it.
        classes: their names; empty where targets are no classes.
        inputs: shape of one input.
        sizes: number of items by split.
    """

    source: str
    classes: tuple[str, ...]
    inputs: tuple[int, ...]
    sizes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What ``plan`` finds out about the model.

    Attributes:
        factory: as the study names it.
        parameters: their number.
        outputs: shape of the outputs for the example; ``None`` where they are no tensor.
    """

    factory: str
    parameters: int
    outputs: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """What ``plan`` finds out about a study, without training.

    Attributes:
        study: its name.
        trials: how many recipes are tried.
        objectives: what the search improves, with the direction: ``"minimize"``.
        limits: what candidates must keep to.
        data: source, shapes and sizes of the splits.
        model: factory, parameters and shape of the outputs.
        structure: the groups that can be removed, and why others cannot.
        space: values of each search parameter, as the study file has them.
        device: where training runs.
    """

    study: str
    trials: int
    objectives: Mapping[str, str]
    limits: Mapping[str, float]
    data: DataFacts
    model: ModelFacts
    structure: Structure
    space: Mapping[str, Any]
    device: str


def check_problem(problem: Problem) -> tuple[nn.Module, Any]:
    """Refuse what cannot run, before anything is trained or written.

    Returns:
        the model, untrained, and its outputs for one batch.

    Raises:
        ConfigurationError: this machine cannot measure as the study wants, the model does not fit
            the data or the task, or a metric of the user's own fails.
    """
    with problem.naming("target.runtime"):
        problem.target.check()
    with problem.naming("model.factory"):
        model, outputs = _tried(problem.model, problem)
    if problem.teacher is not None:
        with problem.naming("teacher.factory"):
            _tried(problem.teacher, problem)
    with problem.naming("target.batch_size"):
        check_call(model, problem.example)
    if problem.own:
        with problem.naming("study.objectives"):
            _check_metrics(problem, model)
    return model, outputs


def _tried(network: Network, problem: Problem) -> tuple[nn.Module, Any]:
    model = network.initial()
    outputs = check_model(model, problem.data, problem.task)
    check_same_structure(model, network.structure())
    return model, outputs


def _check_metrics(problem: Problem, model: nn.Module) -> None:
    """Measure the metrics that the user added once, on the untrained model."""
    evaluator = evaluator_of(problem)
    deployed = evaluator.prepare(model)
    session = evaluator.open(deployed)
    try:
        evaluator.own_metrics(model, session, deployed)
    except TrialError as error:
        where = "" if error.__cause__ is None else f"\n{user_traceback(error.__cause__)}"
        raise ConfigurationError(f"{error.reason}{where}") from error
    finally:
        session.close()


def check(config: StudyConfig) -> Check:
    """Validate a study against its data and model, without training: ``autocompress plan``.

    Raises:
        ConfigurationError: data or model do not exist or do not fit, or this machine cannot
            measure as the study wants.
    """
    problem = problem_from(config)
    model, outputs = check_problem(problem)
    data = problem.data
    return Check(
        study=config.study.name,
        trials=config.study.trials,
        objectives={metric.name: metric.direction for metric in problem.objectives},
        limits={limit.name: limit.bound for limit in problem.limits.limits},
        data=DataFacts(
            source=config.data.source,
            classes=tuple(data.describe().get("classes") or ()),
            inputs=tuple(data.example.shape[1:]),
            sizes=data.sizes,
        ),
        model=ModelFacts(
            factory=config.model.factory,
            parameters=count_parameters(model),
            outputs=tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else None,
        ),
        structure=structure_of(find_units(model, data.example[:2])),
        space=plain(config.search.params),
        device=str(data.device),
    )
