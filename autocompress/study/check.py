"""Check a study before it runs: ``autocompress plan``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from autocompress.config import StudyConfig
from autocompress.context import structure_of
from autocompress.graph import find_units
from autocompress.problem import check_model, problem_from
from autocompress.reading import plain
from autocompress.runs.stored import Structure
from autocompress.targets import count_parameters


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
        data: source, shapes and sizes of the splits.
        model: factory, parameters and shape of the outputs.
        structure: the groups that can be removed, and why others cannot.
        space: values of each search parameter, as the study file has them.
        device: where training runs.
    """

    study: str
    trials: int
    data: DataFacts
    model: ModelFacts
    structure: Structure
    space: Mapping[str, Any]
    device: str


def check(config: StudyConfig) -> Check:
    """Validate a study against its data and model, without training: ``autocompress plan``.

    Raises:
        ConfigurationError: data or model do not exist or do not fit, or this machine cannot
            measure as the study wants.
    """
    problem = problem_from(config)
    problem.target.check()
    data = problem.data
    model = problem.model.initial()
    outputs = check_model(model, data, problem.task)
    return Check(
        study=config.study.name,
        trials=config.study.trials,
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
