"""Trials of a run measured again, on this machine."""

import datetime
from collections.abc import Sequence
from typing import Any

from autocompress.artifacts import write_json
from autocompress.config import load_study
from autocompress.errors import RunError, UsageError
from autocompress.events import Message
from autocompress.measurement.fingerprint import differences, fingerprint
from autocompress.measurement.latency import Latency, Ruler, measure_reference
from autocompress.study.last_word import reload_deployed
from autocompress.study.preparation import (
    Listener,
    latency_example,
    latency_settings,
    load_batches,
    trained,
)
from autocompress.study.records import STUDY_FILE, Run
from autocompress.study.trials import TrialRecord

BENCH_FILE = "bench.json"
_RATIO = ("latency_ratio", "latency_ratio_low", "latency_ratio_high")


def bench(run: Run, numbers: Sequence[int], tell: Listener) -> dict[str, Any]:
    """Measure trials again, paired with the baseline, under the study's ``[latency]`` settings.

    Other hardware or software than the run's is no error: ``differences`` names it. Writes
    ``bench.json`` into the run's folder and changes nothing else there.

    Args:
        run: a run whose baseline is trained.
        numbers: of complete trials; empty for the front.
        tell: hears what happens.

    Returns:
        plain data: ``{"study", "created", "fingerprint", "differences", "settings", "baseline":
        {"stored_ms", "latency_ms", ...}, "trials": [{"trial", "stored", "latency_ms",
        "latency_ratio", "latency_ratio_low", "latency_ratio_high", "p10_ms", "p50_ms", "p90_ms",
        "n", "contention", "flag", "statistic"}, ...]}``; ``stored`` has the ratio and its
        interval as the run knows them, of the last word where it was spoken.

    Raises:
        UsageError: there is no such trial, or nothing on the front.
        RunError: a trial has no model, or the run is damaged or has no baseline yet.
        ConfigurationError: the device or runtime of the settings is not available here.
    """
    if not run.baseline:
        raise RunError(f"{run.path} has no measured baseline yet; resume it first")
    trials = _wanted(run, numbers)
    config = load_study(run.path / STUDY_FILE)
    batches = load_batches(config)
    settings, example = latency_settings(config), latency_example(config, batches)
    now = fingerprint(settings)
    baseline = trained(config.model, batches, run.path / "baseline", config, tell)
    tell(Message(f"measuring the baseline and {len(trials)} trials"))
    reference = measure_reference(baseline, example, settings)
    ruler = Ruler(baseline, example, settings, reference_ms=reference.latency_ms)
    found: dict[str, Any] = {
        "study": run.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fingerprint": now,
        "differences": list(differences(run.fingerprint, now)),
        "settings": config.latency.model_dump(mode="json"),
        "baseline": {"stored_ms": run.baseline["latency_ms"], **_numbers(reference)},
        "trials": [],
    }
    for record in trials:
        deployed = reload_deployed(record, config.model, batches, settings.torch_device())
        latency = ruler.measure(deployed.artifact)
        found["trials"].append(
            {"trial": record.number, "stored": _stored(record), **_numbers(latency)}
        )
        tell(Message(f"trial {record.number}: {latency.ratio:.3f} of the baseline"))
    write_json(run.path / BENCH_FILE, found)
    return found


def _wanted(run: Run, numbers: Sequence[int]) -> list[TrialRecord]:
    """Return the trials that were asked for, all with models."""
    if not numbers:
        front = run.front()
        if not front:
            raise UsageError(f"{run.path} has no finished, feasible trial; name trials to measure")
        return front
    trials = [run.trial(number) for number in dict.fromkeys(numbers)]
    without = [f"{trial.number} ({trial.state})" for trial in trials if trial.folder is None]
    if without:
        raise RunError(f"{run.path}: only complete trials have models, not {', '.join(without)}")
    return trials


def _stored(record: TrialRecord) -> dict[str, float | None]:
    return {key: record.metrics.get(key) for key in _RATIO}


def _numbers(latency: Latency) -> dict[str, Any]:
    numbers = latency.to_dict()
    del numbers["samples_ms"]
    for end in ("", "_low", "_high"):
        numbers[f"latency_ratio{end}"] = numbers.pop(f"ratio{end}")
    return numbers
