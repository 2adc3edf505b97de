"""What a bundle says about its model, and the small files that say it."""

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import tomli_w
import torch

from autocompress.export.preprocessing import Preprocessing

Data = Mapping[str, Any]

RECIPE, METRICS, PREPROCESS, LABELS = (
    "recipe.toml",
    "metrics.json",
    "preprocess.json",
    "labels.txt",
)
STUDY, ORIGIN = "study.toml", "origin.json"


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
class Origin:
    """Where a model comes from: what ``reproduce`` needs to make it again.

    Attributes:
        study: the resolved study file, as nested tables.
        trial: its number in that study.
        recipe: what made the model from the baseline, plain data.
        threads: of the CPU that it was trained with; None: not known.
        baseline_threads: of the CPU that the baseline was trained with; None: not known.
        baseline_sha256: of the baseline's weights, see ``digest_of_weights``.
        machine: the hardware and software that the study was measured on.
    """

    study: Data
    trial: int
    recipe: Data
    threads: int | None
    baseline_threads: int | None
    baseline_sha256: str
    machine: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a bundle tells about its model.

    Attributes:
        name: heading of the model card.
        classes: names of the classes, in the order of the outputs.
        preprocessing: what is done to a picture.
        recipe: nested settings that made the model, plain data.
        metrics: nested numbers, plain data; where it has ``"baseline"`` and ``"model"``, the card
            shows them side by side.
        images: number of images in each split.
        curve: the epochs of its training: ``stage``, ``epoch`` and ``accuracy`` of each.
        origin: where it comes from, if it comes from a study.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Data
    metrics: Data
    images: Mapping[str, int] = field(default_factory=dict)
    curve: Sequence[Data] = ()
    origin: Origin | None = None


def text_files(card: Card) -> dict[str, bytes]:
    """Return the small files of a bundle, by name, without the card, the numbers and the index."""
    files = {
        RECIPE: tomli_w.dumps(_without_none(card.recipe)).encode(),
        PREPROCESS: json_bytes(card.preprocessing.to_dict()),
        LABELS: "".join(f"{label}\n" for label in labels(card)).encode(),
    }
    if card.origin is not None:
        plain = asdict(card.origin)
        files[STUDY] = tomli_w.dumps(_without_none(plain.pop("study"))).encode()
        files[ORIGIN] = json_bytes(plain)
    return files


def labels(card: Card) -> list[str]:
    """Return the names of the classes, each in one line."""
    return [" ".join(name.split()) for name in card.classes]


def metadata(card: Card, packages: Iterable[str]) -> dict[str, str]:
    """Return what is put into model files that can hold texts, as JSON by name."""
    facts = {
        "name": card.name,
        "labels": labels(card),
        "preprocess": card.preprocessing.to_dict(),
        "recipe": card.recipe,
        "versions": versions(packages),
    }
    return {name: json.dumps(fact, ensure_ascii=False) for name, fact in facts.items()}


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


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of what made the bundle, and of further packages."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "autocompress": importlib.metadata.version("autocompress"),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def spec_data(spec: ModelSpec) -> dict[str, Any]:
    """Return a model's specification as plain data; ``ModelSpec(**data)`` reads it."""
    return {**asdict(spec), "kwargs": dict(spec.kwargs)}
