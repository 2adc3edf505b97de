"""The front door: a compressed model and what is known of it, to a bundle."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.bundles.bundle import Bundle, export_bundle
from autocompress.bundles.contents import Card, ModelSpec, Source
from autocompress.bundles.material import Material, Timing
from autocompress.data import Data, as_data
from autocompress.errors import UsageError
from autocompress.graph import Plan
from autocompress.metrics import Estimate
from autocompress.metrics.metric import MACS, NONZERO, PARAMETERS, SIZE
from autocompress.pipeline import State
from autocompress.results import EpochRecord, Estimates
from autocompress.targets import (
    CALIBRATION_ITEMS,
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)
from autocompress.tasks import Task, classification
from autocompress.training.evaluation import evaluate


def export(  # noqa: PLR0913 (what may be known of a model, all but two with a default)
    model: nn.Module | State,
    output: str | Path,
    *,
    plan: Plan | None = None,
    factory: ModelSpec | str | None = None,
    data: Any = None,
    task: Task | None = None,
    example: Tensor | None = None,
    baseline: nn.Module | None = None,
    formats: Sequence[str] = ("pt2",),
    name: str = "",
    timing: Timing | None = None,
    force: bool = False,
) -> Bundle:
    """Write a compressed model as a bundle, and check every model file in a fresh process.

    Args:
        model: in float32, or a :class:`State`, which brings its plan; it is not changed.
        output: the folder to write.
        plan: from the structure that ``factory`` builds to this one: the steps of the reports
            that the techniques returned. By default none, or the state's.
        factory: function that builds the uncompressed model, which a fresh process can import:
            ``"package.module:function"``, or a :class:`ModelSpec` with arguments. Without it the
            model's files run, and ``load`` needs to be given the function.
        data: what files are scored on (``valid``) and calibrated with (``train``): a
            :class:`Data`, or what :func:`as_data` takes.
        task: its scores are computed for every file; by default classification, where there is
            data.
        example: some inputs ``[n, ...]`` that files are compared on; needed without data.
        baseline: the uncompressed model, which the card sets beside this one.
        formats: names in ``FORMATS``.
        name: heading of the model card; by default the name of the folder.
        timing: how long each file is timed, with how many threads and inputs per call.
        force: replace an older bundle.

    Returns:
        what was written, and what was found of each file.

    Raises:
        UsageError: ``output`` holds something else than a bundle, or one and ``force`` is off; or
            there is neither data nor an example.
        ConfigurationError: a format or the factory does not exist, or packages are missing.
        VerificationError: the weights, reloaded, give other outputs, or no file passes; nothing
            is left behind.
        OSError: the disk is full; nothing is left behind.

    Example:
        >>> import autocompress as ac
        >>> pruned, report = ac.prune(net, example=images)  # doctest: +SKIP
        >>> ac.export(pruned, "bundle", plan=ac.Plan(report.steps), factory="mine:net",
        ...           data=(images, labels), formats=("pt2", "onnx"))  # doctest: +SKIP
    """
    if data is None and example is None:
        raise UsageError(
            "expected data or an example: the files of a bundle are compared with the model"
        )
    curve: Sequence[EpochRecord] = ()
    if isinstance(model, State):
        plan, curve, model = plan or model.plan, model.curve, model.model
    if data is not None:
        task = classification() if task is None else task
        data = data if isinstance(data, Data) else as_data(data, task=task)
    inputs = data.example if example is None else example
    card = Card(
        name=name or Path(output).name,
        curve=curve,
        metrics=(PARAMETERS, NONZERO, MACS, SIZE),
        model=_sizes(model, inputs),
        baseline={} if baseline is None else _sizes(baseline, inputs),
    )
    material = Material(example=example, baseline=baseline, timing=timing or Timing())
    if data is not None and task is not None:
        card, material = _with_data(card, material, model, data, task)
    spec = ModelSpec(factory=factory) if isinstance(factory, str) else factory
    return export_bundle(
        Source(model=model, plan=plan or Plan(), spec=spec),
        output,
        card=card,
        material=material,
        formats=formats,
        force=force,
    )


def _with_data(
    card: Card, material: Material, model: nn.Module, data: Data, task: Task
) -> tuple[Card, Material]:
    """Add what data and task know: classes, scores of both models, what files are checked on."""
    card = replace(
        card,
        task=task.name,
        classes=tuple(str(label) for label in data.describe().get("classes") or ()),
        preprocessing=getattr(data, "preprocessing", None),
        metrics=(*(score.metric for score in task.scores), *card.metrics),
        sizes=data.sizes,
        model={**_scores(model, data, task), **card.model},
        baseline={**_scores(material.baseline, data, task), **card.baseline},
    )
    material = replace(
        material,
        validation=data.valid,
        task=task,
        calibration=data.calibration(CALIBRATION_ITEMS),
    )
    return card, material


def _scores(model: nn.Module | None, data: Data, task: Task) -> Estimates:
    if model is None:
        return {}
    own = copy.deepcopy(model).to(data.device).eval()
    return evaluate(own, data.valid, task)


def _sizes(model: nn.Module, example: Tensor) -> Estimates:
    own = copy.deepcopy(model).cpu().eval()
    macs = count_macs(own, example[:1].detach().as_subclass(torch.Tensor).cpu())
    return {
        PARAMETERS.name: Estimate(value=count_parameters(own)),
        NONZERO.name: Estimate(value=count_nonzero(own)),
        MACS.name: Estimate(value=macs.total),
        SIZE.name: Estimate(value=state_bytes(own)),
    }
