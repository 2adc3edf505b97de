"""What a reloaded model file must give: the outputs, top classes and accuracy of the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from autocompress.errors import VerificationError
from autocompress.export.formats import Batch, Run

TOLERANCE = 1e-4  # of a reloaded model's outputs, as a fraction of their standard deviation
MOST_DROP = 0.02  # of the accuracy on the same images, for formats of lower precision


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model file, opened in its runtime.

    Attributes:
        name: of the file.
        run: from images to outputs.
        batch: the batch sizes that it runs.
        exact: whether its outputs must be the model's.
        expected: accuracy in [0, 1] that it was measured to have, where that was done before; of
            lower precision, it is compared with this instead of the model's.
    """

    name: str
    run: Run
    batch: Batch
    exact: bool
    expected: float | None = None

    def outputs(self, images: Tensor) -> Tensor:
        """Return outputs [n, classes], one image at a time where the file needs that."""
        with torch.no_grad():
            if self.batch == "any":
                return self.run(images)
            return torch.cat([self.run(image) for image in torch.split(images, 1)])


def check_golden(model: Opened, golden: dict[str, Tensor]) -> float:
    """Compare outputs with the golden ones; return the largest difference.

    Returns:
        the difference as a fraction of the golden outputs' standard deviation.

    Raises:
        VerificationError: they have another shape, or differ where they must not.
    """
    found, expected = model.outputs(golden["inputs"]), golden["outputs"]
    if found.shape != expected.shape:
        raise VerificationError(
            f"{model.name}: expected outputs of shape {list(expected.shape)}, not "
            f"{list(found.shape)}"
        )
    difference = float((found.double() - expected.double()).abs().max()) / _spread(expected)
    if model.exact and not difference <= TOLERANCE:
        raise VerificationError(
            f"{model.name}: reloaded, its outputs differ by {difference:.1e} of their standard "
            f"deviation from the model's; allowed are {TOLERANCE:.0e}"
        )
    return difference


def check_accuracy(model: Opened, validation: Path) -> dict[str, Any]:
    """Compare top classes and accuracy over the validation images.

    Args:
        model: the file.
        validation: folder of ``*.safetensors`` files with ``images`` [n, channels, height,
            width], ``labels`` [n] and ``outputs`` [n, classes] of the model that was exported.

    Returns:
        ``agreement`` of the top class, ties aside, and ``accuracy``, as fractions in [0, 1], and
        the number of ``images``.

    Raises:
        VerificationError: an exact format gives another top class, or one of lower precision
            loses too much accuracy.
    """
    images, others, right, models = 0, 0, 0, 0
    for part in _parts(validation):
        top = model.outputs(part["images"]).argmax(1)
        images += len(top)
        others += _disagreements(top, part["outputs"])
        right += int((top == part["labels"]).sum())
        models += int((part["outputs"].argmax(1) == part["labels"]).sum())
    if model.exact and others:
        raise VerificationError(
            f"{model.name}: reloaded, it gives another top class for {others} of {images} "
            f"validation images"
        )
    accuracy = right / images
    wanted = models / images if model.expected is None else model.expected
    if not model.exact and round(wanted * images) - right > MOST_DROP * images:
        of = "of the model" if model.expected is None else "that it was measured to have"
        raise VerificationError(
            f"{model.name}: its accuracy on {images} validation images is {accuracy:.2%}, "
            f"more than {100 * MOST_DROP:g} points below the {wanted:.2%} {of}"
        )
    return {"agreement": 1 - others / images, "accuracy": accuracy, "images": images}


def _disagreements(top: Tensor, expected: Tensor) -> int:
    """Count other top classes, but for ties: where rounding alone may have swapped the two."""
    of_top = expected.gather(1, top.unsqueeze(1)).squeeze(1)
    return int((expected.amax(1) - of_top > 2 * TOLERANCE * _spread(expected)).sum())


def _spread(outputs: Tensor) -> float:
    return float(outputs.double().std()) or 1.0


def _parts(folder: Path) -> Iterator[dict[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        yield load_file(path)
