"""Making the model of a bundle again, from data and baseline, and comparing every number."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autocompress.errors import UsageError
from autocompress.events import Event, Message
from autocompress.export.contents import METRICS, ORIGIN, STUDY
from autocompress.export.loading import check_files, digest_of_weights, load, read_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from autocompress.pipeline import CompressedModel
    from autocompress.search.workbench import Workbench

TWICE = ("final_", "search_")  # begin names of what a study measured in its last word and before


def reproduce(bundle: str | Path, tell: "Callable[[Event], None]") -> dict[str, Any]:
    """Run a bundle's recipe again, from the baseline on, and compare the numbers.

    The baseline is made as the study made it: from the weights that it names, or by training with
    the same seed. Nothing is written but to a temporary folder.

    Args:
        bundle: folder that ``autocompress export`` wrote from a run.
        tell: hears what happens.

    Returns:
        plain data: ``"bundle"`` (path), ``"trial"``, ``"same_baseline"`` and ``"same_model"``
        (whether all weights are equal to the last bit), ``"differences"`` (of hardware and
        software, in words) and ``"numbers"``: rows of ``"of"`` (``"baseline"`` or ``"model"``),
        ``"metric"``, ``"bundle"``, ``"again"`` (None: not measured again) and ``"drift"``
        (``again`` minus ``bundle``).

    Raises:
        UsageError: the bundle is missing, was changed, or was not exported from a run.
        ConfigurationError: its data or model can't be found here.
        TrialError: a stage of the recipe failed.
    """
    from autocompress.config import load_study  # loaded here: bundles do not need studies
    from autocompress.study.preparation import latency_settings, load_batches, prepare
    from autocompress.targets.fingerprint import differences, fingerprint

    bundle = Path(bundle)
    index = read_index(bundle)
    missing = {STUDY, ORIGIN} - index["files"].keys()
    if missing:
        raise UsageError(
            f"{bundle} was not exported from a run, so its recipe can't be run again: it has no "
            f"{' and no '.join(sorted(missing))}"
        )
    check_files(bundle, index, (STUDY, ORIGIN, METRICS))
    origin = json.loads((bundle / ORIGIN).read_text(encoding="utf-8"))
    stored = json.loads((bundle / METRICS).read_text(encoding="utf-8"))
    config = load_study(bundle / STUDY)
    batches = load_batches(config)
    with tempfile.TemporaryDirectory() as folder:
        with _threads(origin["baseline_threads"]):
            bench = prepare(config, Path(folder), batches, tell)
        tell(Message(f"running the recipe of trial {origin['trial']}"))
        with _threads(origin["threads"]):
            compressed, numbers = _run(bench, origin["recipe"], stored)
    now = fingerprint(latency_settings(config))
    return {
        "bundle": str(bundle),
        "trial": origin["trial"],
        "same_baseline": digest_of_weights(bench.baseline) == origin["baseline_sha256"],
        "same_model": digest_of_weights(compressed.model) == digest_of_weights(load(bundle)),
        "differences": list(differences(origin["machine"], now)),
        "numbers": [row for of, again in numbers.items() for row in _rows(of, stored[of], again)],
    }


def _run(
    bench: "Workbench", recipe: Mapping[str, Any], stored: Mapping[str, Any]
) -> tuple["CompressedModel", dict[str, Mapping[str, Any]]]:
    """Compress and judge; return the model, and the numbers of baseline and model."""
    from autocompress.deployment import deploy, deployed_file
    from autocompress.recipe import Recipe
    from autocompress.training.evaluation import evaluate, score

    wanted = Recipe.from_dict(recipe)
    compressed = bench.compress(wanted)
    judgement = bench.judge(compressed.model, wanted.precision)
    model, baseline = dict(judgement.metrics), dict(bench.baseline_metrics)
    if "test_accuracy" in stored["model"]:
        device = bench.ruler.settings.torch_device()
        if judgement.onnx is None:
            deployed = deploy(compressed.model, wanted.precision, bench.batches, device=device)
        else:
            deployed = deployed_file(judgement.onnx, device)
        model["test_accuracy"] = score(deployed.run, bench.batches.test).accuracy
        baseline["test_accuracy"] = evaluate(bench.baseline, bench.batches.test).accuracy
    return compressed, {"baseline": baseline, "model": model}


def _rows(
    of: str, stored: Mapping[str, Any], again: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for metric, before in stored.items():
        if isinstance(before, bool) or not isinstance(before, int | float):
            continue
        begin = next((begin for begin in TWICE if metric.startswith(begin)), "")
        now = again.get(metric.removeprefix(begin))
        drift = None if now is None else now - before
        yield {"of": of, "metric": metric, "bundle": before, "again": now, "drift": drift}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU, where it is known: sums depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
