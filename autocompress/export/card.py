"""The model card: what a bundle's README says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from autocompress.export.checks import MOST_DROP, TOLERANCE
from autocompress.export.contents import Card, Data, ModelSpec
from autocompress.export.plots import CURVE, LAYERS
from autocompress.wording import (
    UNKNOWN,
    count,
    milliseconds,
    percent,
    ratio,
    ratio_interval,
    recipe_in_short,
)

NAMED = 12  # classes listed by name
STAGES = {
    "distillation": "in every training run it also learned from the outputs of a teacher",
    "sparsification": "parts of its weights were driven to zero while it trained",
    "pruning": "what was zero was removed from the network, without changing its outputs",
    "factorization": "weights were replaced by products of two thin ones, where that is smaller",
    "late_factorization": "the same once more after the last training, untrained",
    "fold": "batch norms were folded into the layers beside them, without changing its outputs",
    "training": "how long and how fast it was trained",
}
SIZES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "parameters": ("parameters", count),
    "nonzero": ("nonzero parameters", count),
    "macs": ("multiply-adds per image", count),
    "size_bytes": ("weights", lambda value: count(value, "B")),
}
PT2 = """From the exported graph, with PyTorch:

```python
import torch

model = torch.export.load("model.pt2").module()
logits = model(images)  # float32 [n, {channels}, {size}, {size}], prepared as below
```
"""
ONNX = """A picture, with ONNX Runtime, NumPy and Pillow (`pip install onnxruntime numpy pillow`):

    python infer.py picture.png
"""
OPENVINO = """With OpenVINO (`pip install openvino`):

```python
import openvino

model = openvino.Core().compile_model("model.xml", "CPU")
logits = model(images)[0]  # NumPy, float32 [n, {channels}, {size}, {size}], prepared as below
```
"""
EXECUTORCH = """On phones and other devices, one image at a time, with \
[ExecuTorch](https://docs.pytorch.org/executorch/) and its XNNPACK backend; to try it in Python:

```python
from executorch.runtime import Runtime

method = Runtime.get().load_program("{file}").load_method("forward")
logits = method.execute([image])[0]  # float32 [1, {channels}, {size}, {size}], prepared as below
```
"""
LOAD = """Train on, as an ordinary module with the compressed sizes:

```python
import autocompress as ac

model = ac.load("path/to/this/folder")
```
"""
RUNTIMES = {
    "model.pt2": PT2,
    "model.xml": OPENVINO,
    "model.pte": EXECUTORCH,
    "model-int8.pte": EXECUTORCH,
}
PRECISIONS = {
    "int8": "the numbers above are those of `model-int8.onnx`, the file that the study measured",
    "fp16": "the numbers above are those of the model in float16 on a GPU (`model.half()`)",
}
CHECKED = """## Checked

Each file was reloaded in a fresh process. Difference: the largest of the outputs to those of the \
model that was exported, as a fraction of their standard deviation (allowed: {tolerance:.0e}; \
int8 may lose up to {points:g} points of accuracy instead). Agreement: how often the top class is \
the same, ties aside. Latency: median (10th to 90th percentile) of n calls of {batch_size} \
image(s) with {threads} thread(s) in the file's own runtime, and the uncompressed model in the \
same runtime.
"""
FILES = """## Files

`weights.safetensors` + `plan.json` rebuild the model without pickle; `recipe.toml` is what was \
done to it; `golden.safetensors` holds inputs and the outputs they must give; `metrics.json` has \
all numbers; `bundle.json` has the sha256 of every file.
"""


def model_card(
    card: Card, spec: ModelSpec, index: Data, layers: Sequence[Data], files: Sequence[str]
) -> str:
    """Return the README of a bundle.

    Args:
        card: what to tell.
        spec: how the uncompressed model is built.
        index: the bundle's index: checks, files that failed, versions, how latency was measured.
        layers: what ``compare_layers`` returned; empty: not known.
        files: names of the files of the bundle.
    """
    names = ", ".join(card.classes[:NAMED]) + (", …" if len(card.classes) > NAMED else "")
    sections = [
        f"# {card.name}\n",
        f"An image classifier for {len(card.classes)} classes ({names}), compressed by "
        f"autocompress from `{spec.factory}`.\n",
        *_numbers(card),
        *_what_was_done(card),
        *([f"![Accuracy after each epoch]({CURVE})\n"] if CURVE in files else []),
        *_layers(layers),
        *_usage(card, files),
        *_checked(index),
        FILES,
    ]
    return "\n".join(sections)


def _numbers(card: Card) -> Iterator[str]:
    before, after = card.metrics.get("baseline"), card.metrics.get("model")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return
    rows = []
    for split, key in (("valid", "accuracy"), ("test", "test_accuracy")):
        if key in after:
            images = f", {card.images[split]:,} images" if split in card.images else ""
            name = f"accuracy on {split}{images}"
            rows.append((name, percent(before.get(key)), percent(after[key]), ""))
    if "latency_ms" in after:
        times = milliseconds(before.get("latency_ms")), milliseconds(after["latency_ms"])
        rows.append(("latency", *times, f"{ratio_interval(after)}, 95 % interval"))
    for key, (name, write) in SIZES.items():
        if before.get(key) and after.get(key) is not None:
            of = ratio(after[key] / before[key])
            rows.append((name, write(before[key]), write(after[key]), of))
    yield "## Numbers\n"
    yield from _table(("", "baseline", "this model", "of baseline"), rows)
    if card.origin is not None:
        facts = ", ".join(f"{name} {value}" for name, value in card.origin.machine.items())
        n = before.get("latency", {}).get("n")
        yield f"Measured by the study, the baseline over n = {n} calls, on: {facts}.\n"


def _what_was_done(card: Card) -> Iterator[str]:
    done = [name for name in STAGES if card.recipe.get(name)]
    if not done:
        return
    yield "## What was done\n"
    yield f"{recipe_in_short(card.recipe)}. Step by step:\n"
    for name in done:
        yield f"- **{name}**: {STAGES[name]}{_settings(card.recipe[name])}"
    precision = str(card.recipe.get("precision"))
    if precision in PRECISIONS:
        yield f"- **{precision}**: {PRECISIONS[precision]}."
    yield ""


def _settings(stage: Any) -> str:
    if not isinstance(stage, Mapping):
        return "."
    told = {key: value for key, value in stage.items() if value not in (None, [], ())}
    return ": " + ", ".join(f"{key} {_short(value)}" for key, value in told.items()) + "."


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _layers(layers: Sequence[Data]) -> Iterator[str]:
    if not layers:
        return
    yield "## Layers\n"
    yield f"![Parameters of each layer before and after]({LAYERS})\n"
    rows = [
        (
            f"`{layer['name']}`",
            layer["type"],
            _shape(layer["before"]),
            " + ".join(_shape(shape) for shape in layer["after"]) or "removed",
            UNKNOWN if layer["rank"] is None else str(layer["rank"]),
            count(layer["parameters_after"]),
            ratio(layer["parameters_after"] / layer["parameters_before"]),
        )
        for layer in layers
    ]
    heads = ("layer", "type", "before", "after", "rank", "parameters", "of baseline")
    yield from _table(heads, rows)


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def _usage(card: Card, files: Sequence[str]) -> Iterator[str]:
    preprocessing = card.preprocessing
    channels, size = len(preprocessing.mean), preprocessing.image_size
    yield "## Use it\n"
    if "infer.py" in files:
        yield ONNX
    for file, text in RUNTIMES.items():
        if file in files:
            yield text.format(file=file, channels=channels, size=size)
    yield LOAD
    yield "## Pictures\n"
    steps = ", ".join(f"{step.operation} to {step.side}" for step in preprocessing.steps)
    yield (
        f"{size} x {size} pixels, {channels} channel(s). Any picture: {steps}; then "
        f"`(pixels / 255 - mean) / std` with mean {_rounded(preprocessing.mean)} and std "
        f"{_rounded(preprocessing.std)} (exactly: `preprocess.json`). Outputs are logits in the "
        f"order of `labels.txt`.\n"
    )


def _checked(index: Data) -> Iterator[str]:
    yield CHECKED.format(**index["latency"], tolerance=TOLERANCE, points=100 * MOST_DROP)
    rows = [
        (
            f"`{name}`",
            f"{check['difference']:.1e}",
            percent(check["agreement"]),
            percent(check["accuracy"]),
            f"{check['images']:,}",
            _timing(check["latency"]),
            _timing(check["baseline_latency"]),
        )
        for name, check in index["checks"].items()
    ]
    heads = ("file", "difference", "agreement", "accuracy", "images", "latency", "baseline")
    yield from _table(heads, rows)
    for name, reason in index["rejected"].items():
        yield f"Rejected, and moved to `rejected/`: {name}. {reason}\n"
    for reason in index["unwritten"].values():
        yield f"Missing: {reason}\n"
    yield "Made with " + ", ".join(f"{k} {v}" for k, v in index["versions"].items()) + ".\n"


def _timing(latency: Data | None) -> str:
    if latency is None:
        return UNKNOWN
    low, mid, high = (milliseconds(latency[f"p{p}_ms"]) for p in (10, 50, 90))
    flag = ", not quiet" if latency["flag"] else ""
    return f"{mid} ({low} to {high}, n = {latency['n']}{flag})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _rounded(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
