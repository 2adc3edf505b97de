"""Run a model of this folder without PyTorch.

    python infer.py picture.png                          the most probable classes
    python infer.py picture.png --output outputs.npy     the raw outputs, of any task
    python infer.py inputs.npy --output outputs.npy      of inputs that are prepared already

Needs ``pip install onnxruntime numpy pillow``, and beside this file a model (``model.onnx`` or
``model-int8.onnx``); for pictures ``preprocess.json``, for names of classes ``labels.txt``. It may
be copied and changed freely.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, UnidentifiedImageError

HERE = Path(__file__).resolve().parent
MODELS = ("model.onnx", "model-int8.onnx")
SHOWN = 5  # labels

Array = np.ndarray[Any, Any]


def crop(image: Image.Image, side: int) -> Image.Image:
    """Cut out the largest square around the centre and scale it, in 8 bits."""
    width, height = image.size
    square = min(width, height)
    left, top = (width - square) // 2, (height - square) // 2
    return image.crop((left, top, left + square, top + square)).resize(
        (side, side), Image.Resampling.BILINEAR
    )


def stretch(image: Image.Image, side: int) -> Image.Image:
    """Scale to a square, in float32, and round."""
    if image.size == (side, side):
        return image
    bands = []
    for band in image.split():
        scaled = band.convert("F").resize((side, side), Image.Resampling.BILINEAR)
        levels = np.rint(np.asarray(scaled)).clip(0, 255).astype(np.uint8)
        bands.append(Image.fromarray(levels))
    return Image.merge(image.mode, bands)


def pad(image: Image.Image, side: int) -> Image.Image:
    """Put on the middle of a black square."""
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


OPERATIONS = {"crop": crop, "stretch": stretch, "pad": pad}


def prepare(picture: Path, settings: dict[str, Any]) -> Array:
    """Return a picture as the model's input, float32 [1, channels, height, width]."""
    try:
        with Image.open(picture) as opened:
            image = opened.convert(settings["mode"])
    except FileNotFoundError:
        raise SystemExit(f"infer.py: {picture}: no such file") from None
    except (UnidentifiedImageError, OSError) as error:
        raise SystemExit(f"infer.py: {picture} can't be read as a picture: {error}") from None
    for step in settings["steps"]:
        image = OPERATIONS[step["operation"]](image, step["side"])
    pixels = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1)
    mean = np.asarray(settings["mean"], dtype=np.float32) * 255
    std = np.asarray(settings["std"], dtype=np.float32) * 255
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1)[None])


def read(path: Path) -> Array:
    """Return the inputs for a picture, or those that a ``.npy`` file holds."""
    if path.suffix == ".npy":
        try:
            return np.ascontiguousarray(np.load(path), dtype=np.float32)
        except (OSError, ValueError) as error:
            raise SystemExit(f"infer.py: {path} can't be read as an array: {error}") from None
    needed = HERE / "preprocess.json"
    if not needed.is_file():
        raise SystemExit(f"infer.py: {needed} is missing: give inputs that are prepared, as .npy")
    return prepare(path, json.loads(needed.read_text(encoding="utf-8")))


def run(model: Path, inputs: Array) -> list[Array]:
    """Return all raw outputs of a model."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {session.get_inputs()[0].name: inputs})
    return outputs


def classify(model: Path, inputs: Array) -> Array:
    """Return the probabilities of the classes, float [inputs, classes]."""
    return probabilities_of(run(model, inputs)[0])


def probabilities_of(logits: Array) -> Array:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def save(outputs: list[Array], path: Path) -> None:
    """Write raw outputs, each to a file of its own where there are several."""
    for number, output in enumerate(outputs):
        target = path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        np.save(target, output)
        print(f"{target}: {output.dtype} {list(output.shape)}")


def main() -> None:
    """Print the most probable labels of a picture, or save the raw outputs."""
    parser = argparse.ArgumentParser(description="Run a model on a picture or on an array.")
    parser.add_argument("input", type=Path, help="a picture, or prepared inputs as .npy")
    parser.add_argument("--model", type=Path, help="an ONNX file; else the one beside this file")
    parser.add_argument("--output", type=Path, help="save the raw outputs here, as .npy")
    options = parser.parse_args()
    found = [path for name in MODELS if (path := HERE / name).is_file()]
    model = options.model or next(iter(found), HERE / MODELS[0])
    names, labels = HERE / "labels.txt", []
    if not model.is_file():
        raise SystemExit(f"infer.py: {model} is missing")
    if names.is_file():
        labels = names.read_text(encoding="utf-8").splitlines()
    outputs = run(model, read(options.input))
    if options.output is not None or outputs[0].shape != (1, len(labels)):
        save(outputs, options.output or Path("outputs.npy"))
        return
    probabilities = probabilities_of(outputs[0])[0]
    for index in probabilities.argsort()[::-1][:SHOWN]:
        print(f"{probabilities[index]:7.2%}  {labels[index]}")


if __name__ == "__main__":
    main()
