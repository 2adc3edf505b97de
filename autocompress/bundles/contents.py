"""What a bundle says about its model, and the small files that say it."""

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tomli_w
import torch
from torch import nn

from autocompress import models
from autocompress.bundles.preprocessing import preprocess_data
from autocompress.documents import read_json, typed
from autocompress.errors import RunError
from autocompress.graph import Plan
from autocompress.metrics import Metric
from autocompress.results import MOST_THREADS, EpochRecord, Estimates
from autocompress.settings import setting

if TYPE_CHECKING:
    from autocompress.data.preprocessing import Preprocessing

Document = Mapping[str, Any]

RECIPE, METRICS, PREPROCESS, LABELS = (
    "recipe.toml",
    "metrics.json",
    "preprocess.json",
    "labels.txt",
)
STUDY, ORIGIN = "study.toml", "origin.json"
CLASSIFICATION = "classification"  # the task whose outputs are scores of exclusive classes


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How the uncompressed model is built: the arguments of ``models.build``.

    Attributes:
        factory: name of the model: ``"package.module:function"``, for example.
        kwargs: further arguments of its function, plain data.
        num_classes: number of classes; ``None`` where the task has none.
        channels: of the images; ``None`` where inputs are no images.
    """

    factory: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int | None = setting(None, help="number of classes", low=1)
    channels: int | None = setting(None, help="of the images", low=1)

    def build(self) -> nn.Module:
        """Build the uncompressed model, with random weights.

        Raises:
            ConfigurationError: its function can't be found or fails.
        """
        return models.build(
            self.factory, self.kwargs, num_classes=self.num_classes, channels=self.channels
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; ``ModelSpec(**data)`` reads it."""
        return {**asdict(self), "kwargs": dict(self.kwargs)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The model of a bundle.

    Attributes:
        model: in float32; it is not changed.
        plan: from the structure that ``spec`` builds to this one.
        spec: how the uncompressed model is built; ``None``: no function that another process
            can import builds it.
    """

    model: nn.Module
    plan: Plan = field(default_factory=Plan)
    spec: ModelSpec | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model comes from: what ``reproduce`` needs to make it again.

    Attributes:
        study: the resolved study file, as nested tables.
        trial: its number in that study.
        chain: the recipes that made the model from the baseline, plain data, in order: of the
            trial that it started from, if any, and so on to its own.
        threads: of the CPU that each was trained with; ``None``: not known.
        baseline_threads: of the CPU that the baseline was trained with; ``None``: not known.
        baseline_sha256: of the baseline's weights, see ``digest_of_weights``.
        machine: the hardware and software that the study was measured on.
    """

    study: Document
    trial: int = setting(help="its number", low=0)
    chain: tuple[Document, ...]
    threads: tuple[int | None, ...] = setting(help="of the CPU", low=1, high=MOST_THREADS)
    baseline_threads: int | None = setting(help="of the CPU", low=1, high=MOST_THREADS)
    baseline_sha256: str
    machine: Document

    def to_dict(self) -> dict[str, Any]:
        """Return what ``origin.json`` holds; the study has a file of its own."""
        plain = asdict(self)
        del plain["study"]
        return {**plain, "chain": list(plain["chain"]), "threads": list(plain["threads"])}

    @classmethod
    def read(cls, path: Path, study: Document) -> Self:
        """Read ``origin.json``; that of release 0.1 has one recipe.

        Args:
            path: of the file.
            study: the resolved study file beside it.

        Raises:
            RunError: it is damaged.
        """
        data = read_json(path)
        known = {**data, "study": study} if isinstance(data, Mapping) else data
        if isinstance(known, dict) and "recipe" in known:
            known["chain"], known["threads"] = [known.pop("recipe")], [known.get("threads")]
        origin = typed(cls, known, f"{path} is damaged")
        if not 0 < len(origin.chain) == len(origin.threads):
            raise RunError(f"{path} is damaged: expected recipes in chain, and threads of each")
        return origin


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a bundle says about its model.

    Attributes:
        name: heading of the model card.
        task: name of the task; ``None`` where it is not known.
        classes: names of the classes, in the order of the outputs.
        preprocessing: what is done to a picture; ``None`` where it is not known.
        recipe: nested settings that made the model, plain data.
        metrics: describe the estimates below, in the order of the card's rows.
        baseline: estimates of the uncompressed model, by the name of their metric.
        model: estimates of the compressed one.
        sizes: number of items in each split.
        curve: the epochs of its training.
        origin: where it comes from, if it comes from a study.
    """

    name: str
    task: str | None = None
    classes: tuple[str, ...] = ()
    preprocessing: "Preprocessing | None" = None
    recipe: Document = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    baseline: Estimates = field(default_factory=dict)
    model: Estimates = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    curve: Sequence[EpochRecord] = ()
    origin: Origin | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the classes, each in one line."""
        return [" ".join(name.split()) for name in self.classes]

    @property
    def score(self) -> Metric | None:
        """The metric that the curve shows."""
        return self.metrics[0] if self.metrics else None


def text_files(card: Card) -> dict[str, bytes]:
    """Return the small files of a bundle, by name, without the card, the numbers and the index."""
    files = {}
    if card.recipe:
        files[RECIPE] = tomli_w.dumps(_without_none(card.recipe)).encode()
    if card.preprocessing is not None:
        files[PREPROCESS] = json_bytes(preprocess_data(card.preprocessing))
    if card.classes and card.task == CLASSIFICATION:
        files[LABELS] = "".join(f"{label}\n" for label in card.labels).encode()
    if card.origin is not None:
        files[STUDY] = tomli_w.dumps(_without_none(card.origin.study)).encode()
        files[ORIGIN] = json_bytes(card.origin.to_dict())
    return files


def numbers(card: Card) -> dict[str, Any]:
    """Return what ``metrics.json`` says of the model: estimates, and what they are."""
    return {
        "metrics": [metric.to_dict() for metric in card.metrics],
        "baseline": {name: found.to_dict() for name, found in card.baseline.items()},
        "model": {name: found.to_dict() for name, found in card.model.items()},
        "sizes": dict(card.sizes),
    }


def metadata(card: Card, packages: Iterable[str]) -> dict[str, str]:
    """Return what is put into model files that can hold texts, as JSON by name."""
    facts: dict[str, Any] = {
        "name": card.name,
        "task": card.task,
        "labels": card.labels,
        "preprocess": card.preprocessing and preprocess_data(card.preprocessing),
        "recipe": card.recipe,
        "versions": versions(packages),
    }
    return {
        name: json.dumps(fact, ensure_ascii=False)
        for name, fact in facts.items()
        if fact not in (None, [], {})
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


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of what made the bundle, and of further packages."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "autocompress": importlib.metadata.version("autocompress"),
        **{name: importlib.metadata.version(name) for name in packages},
    }
