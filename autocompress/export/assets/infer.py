"""Classify a picture: ``python infer.py picture.png``.

Needs ``pip install onnxruntime numpy pillow``, and beside this file a model (``model.onnx`` or
``model-int8.onnx``), ``preprocess.json`` and ``labels.txt``. It may be copied and changed freely.
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


def classify(model: Path, images: Array) -> Array:
    """Return the probabilities of the classes, float [images, classes]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def main() -> None:
    """Print the most probable labels of a picture."""
    parser = argparse.ArgumentParser(description="Classify a picture.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", type=Path, help="an ONNX file; else the one beside this file")
    options = parser.parse_args()
    found = [path for name in MODELS if (path := HERE / name).is_file()]
    model = options.model or next(iter(found), HERE / MODELS[0])
    for needed in (model, HERE / "preprocess.json", HERE / "labels.txt"):
        if not needed.is_file():
            raise SystemExit(f"infer.py: {needed} is missing")
    settings = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    probabilities = classify(model, prepare(options.picture, settings))[0]
    for index in probabilities.argsort()[::-1][:SHOWN]:
        print(f"{probabilities[index]:7.2%}  {labels[index]}")


if __name__ == "__main__":
    main()
