"""How a picture becomes the input of a model, described so that any program can do the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.data.preprocessing import Preprocessing

MODES: Mapping[int, str] = {1: "L", 3: "RGB"}  # of Pillow, by number of channels
STEPS = {
    "crop": "cut out the largest square around the centre; scale it bilinearly, antialiased, in "
    "8 bits, as Pillow does",
    "stretch": "unless it has that size, scale to a square bilinearly, antialiased, in float32; "
    "round to whole levels",
    "pad": "put on the middle of a black square",
}


def mode_of(preprocessing: "Preprocessing") -> str | None:
    """Return Pillow's mode of the pictures; ``None`` where they have neither 1 nor 3 channels."""
    return MODES.get(len(preprocessing.mean))


def preprocess_data(preprocessing: "Preprocessing") -> dict[str, Any]:
    """Return what ``preprocess.json`` holds."""
    steps = preprocessing.steps
    return {
        "image_size": preprocessing.image_size,
        "channels": len(preprocessing.mean),
        "mode": mode_of(preprocessing),
        "layout": "NCHW",
        "dtype": "float32",
        "steps": [{"operation": step.operation, "side": step.side} for step in steps],
        "operations": {step.operation: STEPS[step.operation] for step in steps},
        "scale": 1 / 255,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "formula": "(pixels * scale - mean) / std, per channel, after the steps",
    }
