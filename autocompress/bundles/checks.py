"""What a reloaded model file must give: the outputs and the scores of the model."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autocompress.bundles.formats import Batch, Forward
from autocompress.bundles.material import INPUTS
from autocompress.bundles.outputs import joined, named
from autocompress.documents import typed
from autocompress.errors import VerificationError
from autocompress.metrics import Metric
from autocompress.results import Estimates

TOLERANCE = 1e-4  # of a reloaded model's outputs, as a fraction of their standard deviation
MOST_LOST = 0.02  # of a score, for formats of lower precision: points, or a fraction of it


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long the calls of a file took.

    Attributes:
        p10_ms: 10th percentile.
        p50_ms: median.
        p90_ms: 90th percentile.
        n: number of calls.
        contention: fraction of time that other processes took.
        flag: why to read them with care; ``None``: they are quiet.
    """

    p10_ms: float
    p50_ms: float
    p90_ms: float
    n: int
    contention: float
    flag: str | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found of a model file.

    Attributes:
        failed: why it must not be used; ``None``: all is well.
        batch: the batch sizes that it runs.
        difference: the largest of its outputs from the model's, as a fraction of their standard
            deviation.
        items: on how many of the validation set it was run.
        scores: of the task, over the validation set.
        agreement: fraction of items on which it is right or wrong as the model is; ``None``
            where the task does not know right and wrong.
        parameters: ``None`` where the format does not say it.
        bytes: of the file and what belongs to it.
        latency: in its own runtime; ``None``: not measured.
        baseline_latency: of the uncompressed model in the same runtime; ``None``: not measured.
        baseline_failed: why it was not, where that was tried.
    """

    failed: str | None = None
    batch: Batch = "any"
    difference: float | None = None
    items: int = 0
    scores: Estimates = field(default_factory=dict)
    agreement: float | None = None
    parameters: int | None = None
    bytes: int = 0
    latency: Times | None = None
    baseline_latency: Times | None = None
    baseline_failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        scores = {name: found.to_dict() for name, found in self.scores.items()}
        return {**asdict(self), "scores": scores}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` returned; raises ``RunError`` for anything else."""
        return typed(cls, data, "not what was found of a file")


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model file, opened in its runtime.

    Attributes:
        name: of the file.
        run: from inputs to outputs.
        batch: the batch sizes that it runs.
        exact: whether its outputs must be the model's.
    """

    name: str
    run: Forward
    batch: Batch
    exact: bool

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return outputs by name, run one input at a time where the file needs that."""
        with torch.no_grad():
            if self.batch == "any":
                return named(self.run(inputs))
            return joined([named(self.run(part)) for part in torch.split(inputs, 1)])


def check_outputs(
    model: Opened, inputs: Tensor, expected: Mapping[str, Tensor], spread: Mapping[str, float]
) -> tuple[float, dict[str, Tensor]]:
    """Compare outputs with the model's.

    Args:
        model: the file.
        inputs: ``[n, ...]``.
        expected: outputs of the model by name.
        spread: what differences are fractions of, by name.

    Returns:
        the largest difference, and the outputs.

    Raises:
        VerificationError: they have other names or shapes, or differ where they must not.
    """
    found = model.outputs(inputs)
    if found.keys() != expected.keys():
        raise VerificationError(
            f"{model.name}: expected {', '.join(expected)}, not {', '.join(found)}"
        )
    largest = 0.0
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise VerificationError(
                f"{model.name}: expected {name} of shape {list(tensor.shape)}, not "
                f"{list(found[name].shape)}"
            )
        difference = float((found[name].double() - tensor.double()).abs().max()) / spread[name]
        if model.exact and not difference <= TOLERANCE:
            raise VerificationError(
                f"{model.name}: reloaded, its {name} differ by {difference:.1e} of their standard "
                f"deviation from the model's; allowed are {TOLERANCE:.0e}"
            )
        largest = max(largest, difference)
    return largest, found


def spreads(golden: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the standard deviation of each output over the golden inputs; 1 where it is 0."""
    outputs = {name: tensor.double() for name, tensor in golden.items() if name != INPUTS}
    return {n: float(t.std()) or 1.0 if t.numel() > 1 else 1.0 for n, t in outputs.items()}


def check_validation(
    model: Opened, validation: Path, spread: Mapping[str, float], found: Path
) -> tuple[float, int]:
    """Compare outputs over the validation set, and keep them, to be scored.

    Args:
        model: the file.
        validation: folder of ``*.safetensors`` files with inputs and the model's outputs.
        spread: what differences are fractions of, by name.
        found: folder for the outputs.

    Returns:
        the largest difference, and the number of items.

    Raises:
        VerificationError: as ``check_outputs``.
    """
    largest, items = 0.0, 0
    found.mkdir(parents=True, exist_ok=True)
    for path, part in _parts(validation):
        inputs = part.pop(INPUTS)
        difference, outputs = check_outputs(model, inputs, part, spread)
        save_file({name: t.contiguous() for name, t in outputs.items()}, found / path.name)
        largest, items = max(largest, difference), items + len(inputs)
    return largest, items


def check_score(
    name: str, check: Check, metric: Metric, expected: float, *, measured: bool
) -> Check:
    """Fail a file of lower precision that loses too much of the task's first score.

    Args:
        name: of the file.
        check: what was found of it.
        metric: the score.
        expected: what the model has, or what the file was measured to have.
        measured: whether it is the latter.
    """
    value = check.scores[metric.name].value
    lost = metric.sign * (metric.beside(value, expected) - metric.beside(expected, expected))
    if lost <= MOST_LOST * (1 + 1e-9):
        return check
    points = metric.comparison == "difference"
    much = f"{100 * MOST_LOST:g} points" if points else f"{MOST_LOST:.0%}"
    of = "that it was measured to have" if measured else "of the model"
    return replace(
        check,
        failed=f"{name}: its {metric.title} on {check.items} items is {_told(metric, value)}, "
        f"more than {much} worse than the {_told(metric, expected)} {of}",
    )


def _told(metric: Metric, value: float) -> str:
    if metric.format == "fraction":
        return f"{value:.2%}"
    return f"{value:.4g} {metric.unit}".rstrip()


def _parts(folder: Path) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    for path in sorted(folder.glob("*.safetensors")):
        yield path, load_file(path)
