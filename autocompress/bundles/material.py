"""What model files are made with and checked against: data, a task, the uncompressed model."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from autocompress.bundles.outputs import Structure, named, plain
from autocompress.data.protocol import Batch as Labelled
from autocompress.errors import UsageError
from autocompress.results import MOST_THREADS, Estimates
from autocompress.settings import setting
from autocompress.targets.programs import Batch
from autocompress.tasks import Task

INPUTS = "inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How the latency of model files is measured.

    Attributes:
        batch_size: inputs per call.
        threads: of the CPU.
        budget_s: seconds for each file.
    """

    batch_size: int = setting(1, help="inputs per call", low=1, high=65_536)
    threads: int = setting(1, help="of the CPU", low=1, high=MOST_THREADS)
    budget_s: float = setting(2.0, help="seconds for each file", low=0, high=3600)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model file that was made and scored before.

    Attributes:
        content: of the file.
        batch: the batch sizes that it runs.
        score: that it had on the validation set, in the task's first metric; ``None``: not known.
    """

    content: bytes
    batch: Batch
    score: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What model files are made with and checked against.

    Attributes:
        validation: batches of inputs ``[n, ...]`` and targets, all of the validation set; gone
            through once. Empty: files are compared on ``example`` only.
        task: scores that are computed for each file over the validation set; ``None``: outputs
            are compared only.
        example: some inputs ``[n, ...]``; needed where there is no validation set.
        calibration: batches of training inputs, all of which formats in 8 bits learn from; gone
            through once, and only for those.
        measured: files by the name of their format, which are shipped as they are.
        baseline: the uncompressed model, which is timed beside the files; ``None``: only they
            are.
        timing: how latency is measured.
    """

    validation: Iterable[Labelled] = ()
    task: Task | None = None
    example: Tensor | None = None
    calibration: Iterable[Tensor] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)
    baseline: nn.Module | None = None
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class Validation:
    """The validation set with the model's outputs, on disk, batch by batch.

    Attributes:
        folder: of its files.
        example: the first inputs.
        structure: of the model's outputs.
        items: how many there are; 0: there is only the example.
    """

    folder: Path
    example: Tensor
    structure: Structure
    items: int

    def scores(self, task: Task, outputs: Path) -> Estimates:
        """Return all scores of a task.

        Args:
            task: whose scores.
            outputs: folder with the outputs of a file, or of the model, by the names of batches.
        """
        for score in task.scores:
            score.reset()
        for found, targets in self._pairs(outputs):
            for score in task.scores:
                score.update(found, targets)
        return {score.metric.name: score.compute() for score in task.scores}

    def agreement(self, task: Task, outputs: Path) -> float | None:
        """Return the fraction of items on which outputs are right or wrong as the model's are.

        ``None`` where the task does not know right and wrong.
        """
        if task.outcomes is None:
            return None
        same = 0
        pairs = zip(self._pairs(self.folder), self._pairs(outputs), strict=True)
        for (ours, targets), (theirs, _) in pairs:
            same += int((task.outcomes(ours, targets) == task.outcomes(theirs, targets)).sum())
        return same / self.items

    def _pairs(self, outputs: Path) -> Iterator[tuple[Any, Any]]:
        for path in sorted(self.folder.glob("*.safetensors")):
            targets = torch.load(path.with_suffix(".targets"), weights_only=False)
            yield self.structure.restored(load_file(outputs / path.name)), targets


def write_validation(model: nn.Module, material: Material, folder: Path, count: int) -> Validation:
    """Store the validation set with the model's outputs.

    Args:
        model: on the CPU, in evaluation mode.
        material: has the validation set, or an example.
        folder: where to.
        count: how many of the first inputs are the example.

    Raises:
        UsageError: there are no inputs, or the model returns something else than tensors.
    """
    given = torch.empty(0) if material.example is None else plain(material.example)[:count]
    examples, items = [given] if len(given) else [], 0
    for number, (inputs, targets) in enumerate(material.validation):
        inputs = plain(inputs)
        with torch.no_grad():
            outputs = {name: plain(t) for name, t in named(model(inputs)).items()}
        path = folder / f"{number:06d}.safetensors"
        save_file({INPUTS: inputs, **outputs}, path)
        torch.save(_on_cpu(targets), path.with_suffix(".targets"))
        if not len(given) and sum(map(len, examples)) < count:
            examples.append(inputs)
        items += len(inputs)
    if not examples:
        raise UsageError(
            "expected inputs to check with: a validation set that is not empty, or an example"
        )
    example = torch.cat(examples)[:count]
    with torch.no_grad():
        structure = Structure.of(model(example))
    return Validation(folder, example, structure, items)


def _on_cpu(targets: Any) -> Any:
    return tree_map_only(Tensor, plain, targets)
