"""What a bundle says about its model, and the text files that say it."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import tomli_w
import torch

Data = Mapping[str, Any]

USAGE = """## Use it

Without autocompress, from the exported graph:

```python
import torch

model = torch.export.load("model.pt2").module()
logits = model(images)  # float32 [n, {channels}, {size}, {size}], normalised as below
```

Train on, as an ordinary module with the compressed sizes:

```python
import autocompress as ac

model = ac.load("path/to/this/folder")
```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How the uncompressed model is built: the arguments of ``models.build``.

    Attributes:
        factory: name of the model.
        kwargs: further arguments of its function, plain data.
        num_classes: number of classes.
        channels: channels of the images.
    """

    factory: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a bundle tells about its model.

    Attributes:
        name: heading of the model card.
        classes: names of the classes, in the order of the outputs.
        image_size: height and width of the images, in pixels.
        mean: of each channel, of pixels scaled to [0, 1].
        std: of each channel, of pixels scaled to [0, 1].
        recipe: nested settings that made the model, plain data.
        metrics: nested numbers, plain data; where it has ``"baseline"`` and ``"model"``, the card
            shows them side by side.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: Data
    metrics: Data


def text_files(card: Card) -> dict[str, bytes]:
    """Return the small files of a bundle, by name, all but the card and the index."""
    preprocess = {
        "image_size": card.image_size,
        "channels": len(card.mean),
        "layout": "NCHW",
        "scale": 1 / 255,
        "mean": card.mean,
        "std": card.std,
        "formula": "(pixels * scale - mean) / std, per channel, after resizing to image_size",
    }
    return {
        "recipe.toml": tomli_w.dumps(_without_none(card.recipe)).encode(),
        "metrics.json": json_bytes(card.metrics),
        "preprocess.json": json_bytes(preprocess),
        "labels.txt": "".join(f"{' '.join(name.split())}\n" for name in card.classes).encode(),
    }


def json_bytes(data: Any) -> bytes:
    """Return data as readable JSON."""
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def _without_none(value: Any) -> Any:
    """Drop settings that are None, which TOML does not have: they are off."""
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value if entry is not None]
    return value


def versions() -> dict[str, str]:
    """Return the versions of what made the bundle."""
    return {
        "autocompress": importlib.metadata.version("autocompress"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def model_card(card: Card, spec: ModelSpec, checks: Mapping[str, Data]) -> str:
    """Return the README of a bundle.

    Args:
        card: what to tell.
        spec: how the uncompressed model is built.
        checks: for each model file, what reloading it in a fresh process gave.
    """
    parts = [
        f"# {card.name}\n",
        f"An image classifier for {len(card.classes)} classes, compressed by autocompress from "
        f"`{spec.factory}`.\n",
        _numbers(card.metrics),
        USAGE.format(channels=len(card.mean), size=card.image_size),
        "## Images\n",
        f"{card.image_size} x {card.image_size} pixels, {len(card.mean)} channel(s), "
        f"`(pixels / 255 - mean) / std` with mean {_rounded(card.mean)} and std "
        f"{_rounded(card.std)} (exact values: `preprocess.json`). Outputs are logits in the "
        f"order of `labels.txt`.\n",
        _checked(checks),
        "## Files\n",
        "`weights.safetensors` + `plan.json` rebuild the model without pickle; `recipe.toml` is "
        "what was done to it; `golden.safetensors` holds inputs and the outputs they must give; "
        "`bundle.json` has the sha256 of every file.\n",
    ]
    return "\n".join(part for part in parts if part)


def _numbers(metrics: Data) -> str:
    before, after = metrics.get("baseline"), metrics.get("model")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ""
    rows = [
        f"| {key} | {_number(before[key])} | {_number(after[key])} |"
        for key in before
        if isinstance(before[key], int | float) and isinstance(after.get(key), int | float)
    ]
    return "\n".join(["## Numbers\n", "| | baseline | this model |", "|---|---|---|", *rows, ""])


def _checked(checks: Mapping[str, Data]) -> str:
    rows = [
        f"| `{name}` | {check['difference']:.1e} | {check['agreement']:.2%} | "
        f"{check['accuracy']:.2%} | {check['images']:,} | {check['batch']} |"
        for name, check in checks.items()
    ]
    return "\n".join(
        [
            "## Checked\n",
            "Each file was reloaded in a process of its own: largest difference of the outputs "
            "to the model it was made from (as a fraction of their standard deviation), and, "
            "over the whole validation set, how often the top class agrees, and the accuracy.\n",
            "| file | difference | agreement | accuracy | images | batch |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _rounded(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def spec_data(spec: ModelSpec) -> dict[str, Any]:
    """Return a model's specification as plain data; ``ModelSpec(**data)`` reads it."""
    return {**asdict(spec), "kwargs": dict(spec.kwargs)}
