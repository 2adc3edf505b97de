"""Training steps per second: images that live on the device, beside fastai's DataLoaders.

    python -m benchmarks.throughput --rounds 7
    python -m benchmarks.throughput --device cuda --batch-size 256 --workers 8

The same 32-pixel colour images, model, batch size and steps for three loaders: ours
(``make_data``); fastai's DataLoaders of a plain dataset of tensors; and fastai's
``ImageDataLoaders.from_folder`` on PNG files. Rounds alternate between the loaders; each round
trains one epoch, and a ratio is taken within each round. Results: ``results/throughput.*``.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.vision.data import ImageDataLoaders
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from autocompress import models
from autocompress.data.batches import BatchSettings
from autocompress.data.labelled import make_data
from autocompress.data.loading import load_splits
from autocompress.data.splits import Images, Splits
from autocompress.targets import local_target

RESULTS = Path(__file__).parent / "results"
OURS = "on the device"
SIDE, CHANNELS = 32, 3
Loader = Iterable[Any]


def images_of(source: str, count: int) -> Splits:
    """Return a data set in colour at 32 pixels, its training images repeated up to a number."""
    splits = load_splits(source, image_size=SIDE)
    parts = {
        name: Images(part.images.repeat(1, CHANNELS // splits.channels, 1, 1), part.labels)
        for name in ("train", "valid", "test")
        if isinstance(part := getattr(splits, name), Images)
    }
    parts["train"] = parts["train"].take(torch.arange(count) % len(parts["train"]))
    times = CHANNELS // splits.channels
    return replace(
        splits,
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        channels=CHANNELS,
        mean=splits.mean * times,
        std=splits.std * times,
    )


def write_files(splits: Splits, folder: Path) -> None:
    """Write the training images as PNG files, a folder per class, as fastai reads them."""
    assert isinstance(splits.train, Images)
    for index, (image, label) in enumerate(
        zip(splits.train.images, splits.train.labels.tolist(), strict=True)
    ):
        home = folder / f"class{label}"
        home.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(home / f"{index}.png")


def loaders(splits: Splits, folder: Path, options: argparse.Namespace) -> dict[str, Loader]:
    """Return the three training loaders."""
    device = torch.device(options.device)
    ours = make_data(splits, BatchSettings(batch_size=options.batch_size), device=device)
    assert isinstance(splits.train, Images)
    shape = (1, CHANNELS, 1, 1)
    mean, std = (torch.tensor(values).view(shape) for values in (splits.mean, splits.std))
    tensors = TensorDataset((splits.train.images / 255 - mean) / std, splits.train.labels)
    more: dict[str, Any] = {"bs": options.batch_size, "device": device}
    if options.workers is not None:
        more["num_workers"] = options.workers
    files = ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.01,
        seed=0,
        batch_tfms=Normalize.from_stats(splits.mean, splits.std, cuda=device.type == "cuda"),
        **more,
    )
    return {
        OURS: ours.train(seed=0),
        "fastai, dataset of tensors": DataLoaders.from_dsets(tensors, **more)[0],
        "fastai, folder of PNG files": files.train,
    }


def stepper(options: argparse.Namespace, classes: int) -> Callable[[Any, Any], None]:
    """Return one training step of a fresh model: forward, backward, Adam."""
    device = torch.device(options.device)
    torch.manual_seed(0)
    model = models.build(options.model, {}, num_classes=classes, channels=CHANNELS).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    mixed = torch.autocast(device.type, enabled=device.type == "cuda", dtype=torch.bfloat16)
    model.train()

    def step(images: Any, labels: Any) -> None:
        with mixed:
            outputs = model(images.as_subclass(torch.Tensor))
        loss = nn.functional.cross_entropy(outputs.float(), labels.as_subclass(torch.Tensor))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def steps_per_second(
    loader: Loader, step: Callable[[Any, Any], None] | None, device: torch.device, limit: int
) -> float:
    """Return how many batches a second pass through a step, or are made where there is none."""
    count, start = 0, time.perf_counter()
    for images, labels in loader:
        if step is not None:
            step(images, labels)
        count += 1
        if count == limit:
            break
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Return steps per second of each loader, with and without training, round by round."""
    device = torch.device(options.device)
    splits = images_of(options.source, options.images)
    rates: dict[str, dict[str, list[float]]] = {"training": {}, "loading": {}}
    with tempfile.TemporaryDirectory() as folder:
        write_files(splits, Path(folder))
        compared = loaders(splits, Path(folder), options)
        step = stepper(options, len(splits.classes))
        for number in range(options.rounds + 1):  # the first warms up
            for what, work in (("training", step), ("loading", None)):
                for name, loader in compared.items():
                    rate = steps_per_second(loader, work, device, options.steps)
                    if number:
                        rates[what].setdefault(name, []).append(rate)
    return rates


def ratios(rates: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return ours / theirs for each other loader, within each round."""
    return {
        name: [ours / its for ours, its in zip(rates[OURS], values, strict=True)]
        for name, values in rates.items()
        if name != OURS
    }


def report(document: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    device, options = document["device"], document["options"]
    where = device.get("gpu", device["cpu"])
    workers = "fastai's default" if options["workers"] is None else options["workers"]
    lines = [
        "# Training steps per second at 32 pixels",
        "",
        f"{where}; {options['model']}, batches of {options['batch_size']}, {options['images']} "
        f"images, DataLoader workers: {workers}, {torch.get_num_threads()} threads; torch "
        f"{device['torch']}, fastai {document['fastai']}, Python {device['python']}. Medians of "
        f"{options['rounds']} alternated rounds, lowest and highest in brackets.",
        "",
        "| | loader | steps/s | on the device is faster by |",
        "|---|---|---|---|",
    ]
    for what, rates in document["steps_per_second"].items():
        against = document["ratios"][what]
        for name, values in rates.items():
            ratio = _spread(against[name], "x") if name in against else "-"
            lines.append(f"| {what} | {name} | {_spread(values)} | {ratio} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float], unit: str = "") -> str:
    middle = f"{statistics.median(values):.2f}{unit}"
    return f"{middle} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    available = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=available)
    parser.add_argument("--model", default="autocompress:resnet_small")
    parser.add_argument("--source", default="digits", help="a data set in memory")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, help="of fastai's loaders; left out: its default")
    parser.add_argument("--steps", type=int, default=0, help="per round; 0 is a whole epoch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = measure(options)
    document = {
        "device": dict(local_target(device=options.device).fingerprint()),
        "system": platform.system(),
        "fastai": importlib.metadata.version("fastai"),
        "options": {key: value for key, value in vars(options).items() if key != "results"},
        "steps_per_second": rates,
        "ratios": {what: ratios(values) for what, values in rates.items()},
    }
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / f"throughput-{options.device}.json"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    file.with_suffix(".md").write_text(report(document), encoding="utf-8")
    print(report(document))


if __name__ == "__main__":
    main()
