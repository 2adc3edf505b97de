"""How a picture becomes the input of a model, told so that any program can do the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autocompress.data.resizing import Step
from autocompress.datasets import Splits

MODES: Mapping[int, str] = {1: "L", 3: "RGB"}  # of Pillow, by number of channels
STEPS = {
    "crop": "cut out the largest square around the centre; scale it bilinearly, antialiased, in "
    "8 bits, as Pillow does",
    "stretch": "unless it has that size, scale to a square bilinearly, antialiased, in float32; "
    "round to whole levels",
    "pad": "put on the middle of a black square",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What is done to a picture before a model sees it.

    Attributes:
        image_size: height and width that the model sees, in pixels.
        steps: how a picture of any size gets that size, in this order.
        mean: of each channel, of pixels scaled to [0, 1].
        std: of each channel, of pixels scaled to [0, 1].
    """

    image_size: int
    steps: tuple[Step, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, splits: Splits) -> "Preprocessing":
        """Return what is done to the images of a data set."""
        return cls(
            image_size=splits.image_size,
            steps=splits.resizing or (Step("stretch", splits.image_size),),
            mean=splits.mean,
            std=splits.std,
        )

    @property
    def mode(self) -> str | None:
        """Pillow's mode of the pictures; None where they have neither 1 nor 3 channels."""
        return MODES.get(len(self.mean))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``preprocess.json`` holds."""
        return {
            "image_size": self.image_size,
            "channels": len(self.mean),
            "mode": self.mode,
            "layout": "NCHW",
            "dtype": "float32",
            "steps": [asdict(step) for step in self.steps],
            "operations": {step.operation: STEPS[step.operation] for step in self.steps},
            "scale": 1 / 255,
            "mean": self.mean,
            "std": self.std,
            "formula": "(pixels * scale - mean) / std, per channel, after the steps",
        }
