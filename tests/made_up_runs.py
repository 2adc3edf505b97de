"""Run folders with made-up numbers: what reading, showing and reporting need, without training."""

import datetime
import math
import random
from dataclasses import asdict, replace

from autocompress.artifacts import write_bytes, write_folder, write_json
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.intervals import wilson
from autocompress.metrics.metric import KNOWN
from autocompress.results import EpochRecord, Failure, StageResult, TrialResult
from autocompress.runs import Run, layout
from autocompress.runs.journal import Ended, Journal, Proposed, Session

VALID_IMAGES = 500
ACCURACY = Metric(
    name="accuracy",
    direction="maximize",
    format="fraction",
    comparison="difference",
    pick="accurate",
)
TEST_ACCURACY = replace(
    ACCURACY,
    name="test_accuracy",
    title="accuracy on test",
    pick="test_accuracy",
    ratio_name="test_accuracy_ratio",
    drop_name="test_accuracy_drop",
)
ENERGY = Metric(name="energy_mj", title="energy", unit="mJ", direction="minimize", pick="frugal")
ONE, TWO = ("accuracy",), ("accuracy", "latency_ms")
THREE = ("accuracy", "latency_ms", "parameters")
FOUR = (*THREE, "energy_mj")
FIVE = (*FOUR, "size_bytes")


def share(value, n=VALID_IMAGES):
    """Return an accuracy with its interval."""
    low, high = wilson(value, n)
    return Estimate(value=value, low=low, high=high, n=n)


BASELINE = {
    "accuracy": share(0.982),
    "latency_ms": Estimate(value=2.0, low=1.98, high=2.02, n=200),
    "parameters": Estimate(value=1_200_000),
    "nonzero": Estimate(value=1_200_000),
    "macs": Estimate(value=30_000_000),
    "size_bytes": Estimate(value=4_810_000),
}
BASELINE_ENERGY = Estimate(value=5.0, low=4.8, high=5.2, n=20)
SAMPLES_MS = [2.0 + 0.01 * (n % 9) for n in range(200)]
STUDY = """\
[study]
name = "{name}"
trials = {wanted}
[data]
source = "digits"
[model]
factory = "autocompress:vgg_small"
[search]
sparsity = {{ low = 0.0, high = 1.0 }}
granularity = ["filter", "kernel", "weight"]
criterion = ["large_final", "taylor", "movement"]
schedule = ["cosine", "agp", "one_cycle"]
fold = true
[limits]
accuracy_drop = 0.05
"""
LAYERS = (("features.0", "Conv2d", 32, 1), ("features.3", "Conv2d", 64, 32))
UNITS = {
    "units": [
        {"layer": "features.0", "kind": "convolution", "units": 32, "not_removable": []},
        {"layer": "classifier.0", "kind": "linear", "units": 256, "not_removable": ["softmax"]},
    ],
    "fixed": {"classifier.3": "reaches the model's output"},
}
CHOICES = {
    "granularity": ("filter", "kernel", "weight"),
    "criterion": ("large_final", "taylor", "movement"),
    "schedule": ("cosine", "agp", "one_cycle"),
}
BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
REASON = "<script>alert('x')</script> & outputs differ by 0.3"


def made_up_run(
    folder, *, complete=24, failed=2, pruned=3, stopped=0, derived=0, running=0,
    finished=True, wanted=30, objectives=THREE,
):  # fmt: skip
    """Write a run with so many trials of each state into ``folder``, and open it.

    Args:
        objectives: ``ONE``, ``TWO``, ``THREE``; ``FOUR`` has an energy of a user's own too, and
            ``FIVE`` the size.
    """
    folder.mkdir(parents=True)
    own = [ENERGY] if "energy_mj" in objectives else []
    write_bytes(folder / layout.STUDY, STUDY.format(name=folder.name, wanted=wanted).encode())
    header = {
        "format": layout.FORMAT,
        "name": folder.name,
        "created": BEGAN.isoformat(),
        "objectives": list(objectives),
        "score": "accuracy",
        "metrics": [m.to_dict() for m in (ACCURACY, *KNOWN.values(), *own, TEST_ACCURACY)],
        "task": "classification",
        "sizes": {"train": 2000, "valid": VALID_IMAGES, "test": 500},
        "fingerprint": {"processor": "Example CPU", "torch": "2.11.0", "threads": 1},
        "digests": {},
        "versions": {},
    }
    write_json(folder / layout.HEADER, header)
    counts = {
        "complete": complete,
        "failed": failed,
        "pruned": pruned,
        "stopped": stopped,
        "derived": derived,
    }
    states = [state for state, count in counts.items() for _ in range(count)]
    journal(folder).append(Session(time=BEGAN.isoformat(), trials=wanted))
    if states or running:
        _write_baseline(folder, own)
    chance = random.Random(0)
    chance.shuffle(states)
    for number, state in enumerate([*states, *["running"] * running]):
        add_trial(folder, number, state, chance)
    run = Run.open(folder)
    if finished and run.front():
        trials = {str(trial.number): _final(trial) for trial in run.front()}
        baseline = {"test_accuracy": share(0.979).to_dict()}
        write_json(folder / layout.FINAL, {"baseline": baseline, "trials": trials})
    return run


def journal(folder):
    """Return the journal of a run, to be written."""
    return Journal(folder / layout.JOURNAL)


def _write_baseline(folder, own):
    home = folder / layout.BASELINE
    home.mkdir()
    metrics = {**BASELINE, **({"energy_mj": BASELINE_ENERGY} if own else {})}
    evaluation = {
        "metrics": {name: found.to_dict() for name, found in metrics.items()},
        "samples_ms": SAMPLES_MS,
    }
    write_json(home / layout.EVALUATION, evaluation)
    write_json(home / layout.UNITS, UNITS)


def _final(trial):
    latency = trial.searched["latency_ms"]
    ends = {end: getattr(latency, end) * 1.01 for end in ("value", "low", "high")}
    again = replace(latency, **ends)
    test = share(trial.searched["accuracy"].value - 0.004)
    stages = [
        {
            "stage": row.stage,
            "score": row.score,
            "parameters": row.parameters,
            "latency_ms": latency.value * (2 - n / 4),
        }
        for n, row in enumerate(trial.stages)
    ]
    stages[-1]["latency_ms"] = latency.value
    metrics = {"latency_ms": again.to_dict(), "test_accuracy": test.to_dict()}
    return {"metrics": metrics, "stages": stages}


def _recipe(kept, chosen, chance):
    return {
        "start": None,
        "distillation": chance.choice([None, {"loss": "soft_target", "weight": 0.5}]),
        "sparsification": {
            "sparsity": round(1 - kept, 2),
            "linear_sparsity": 0.5,
            "linear_granularity": "row",
            "scope": "local",
            **chosen,
        },
        "pruning": {"round_to": 1},
        "factorization": chance.choice([None, {"rank": 0.25, "convolution_rank": None}]),
        "fold": True,
        "training": {"epochs": 5, "recovery_epochs": 2, "learning_rate": 0.003},
    }


def add_trial(folder, number, state, chance):
    """Add a trial with made-up numbers to a run: two workers, some forty seconds each.

    Args:
        state: ``complete``, ``derived``, ``failed``, ``pruned``, ``stopped`` or ``running``.
        chance: where the numbers come from.
    """
    kept = chance.uniform(0.1, 1.0)
    chosen = {name: chance.choice(choices) for name, choices in CHOICES.items()}
    params = {"sparsity": 1 - kept, **chosen, "fold": True}
    recipe = _recipe(kept, chosen, chance)
    events, began = journal(folder), BEGAN + datetime.timedelta(seconds=20 * number)
    if state != "derived":
        proposed = Proposed(number=number, time=began.isoformat(), params=params, recipe=recipe)
        events.append(proposed)
    result = _result(folder, number, state, kept, recipe, chance)
    if result is None:
        return
    ended = began + datetime.timedelta(seconds=chance.uniform(25, 40))
    own = {"parent": 0, "params": params} if state == "derived" else {}
    events.append(Ended(number=number, time=ended.isoformat(), result=result, **own))


def _result(folder, number, state, kept, recipe, chance):
    if state == "running":
        return None
    if state == "failed":
        failure = Failure(stage="prune", reason=REASON)
        return TrialResult(state="failed", recipe=recipe, failure=failure)
    if state == "pruned":
        failure = Failure(stage="estimate", reason="over the limit")
        return TrialResult(state="pruned", recipe=recipe, failure=failure)
    metrics = _metrics(kept, chance)
    if (folder / layout.HEADER).read_text().count("energy_mj"):
        energy = 5 * (0.3 + 0.7 * kept) * (1 + 0.2 * math.sin(7 * number))
        metrics["energy_mj"] = Estimate(value=energy, low=0.95 * energy, high=1.05 * energy, n=20)
    if state == "stopped":
        reason = "at most 96.00 %, which trial 0 dominates"
        failure = Failure(stage="train", reason=reason, epoch=2, bound=0.96, dominated_by=0)
        known = {name: metrics[name] for name in ("latency_ms", "parameters")}
        return TrialResult(state="pruned", recipe=recipe, failure=failure, metrics=known)
    name, curve = f"{number:05d}", _curve(metrics["accuracy"].value)
    result = TrialResult(
        state="complete",
        recipe=recipe,
        metrics=metrics,
        curve=curve,
        stages=_stages(metrics),
        seconds={"train": 30.0, "recover": 8.0},
        folder=name,
        threads=1,
    )
    sha256 = _write(layout.trial_folder(folder, name), result, kept)
    return replace(result, sha256=sha256)


def _metrics(kept, chance):
    ratio = kept * chance.uniform(0.8, 1.1)
    accuracy = min(0.99, 0.985 - 0.09 * math.exp(-6 * kept) - chance.uniform(0, 0.03))
    latency = Estimate(value=2 * ratio, low=1.94 * ratio, high=2.08 * ratio, n=200)
    return {
        "accuracy": share(accuracy),
        "latency_ms": latency,
        "parameters": Estimate(value=int(1_200_000 * kept**2)),
        "nonzero": Estimate(value=int(1_100_000 * kept**2)),
        "macs": Estimate(value=int(30_000_000 * kept**2)),
        "size_bytes": Estimate(value=int(4_810_000 * kept**2)),
    }


def _write(folder, result, kept):
    latency = result.metrics["latency_ms"].value
    samples = [latency + 0.005 * (n % 13) for n in range(200)]
    measurement = {"n": 200, "p10_ms": samples[0], "p50_ms": samples[100], "p90_ms": samples[12]}
    return write_folder(
        folder,
        {
            layout.RECIPE: result.recipe,
            layout.MEASUREMENT: {**measurement, "samples_ms": samples, "flag": None},
            layout.CURVE: [asdict(record) for record in result.curve],
            layout.LAYERS: [_layer(*layer, kept) for layer in LAYERS] + [_linear(kept)],
            layout.STAGES: [asdict(row) for row in result.stages],
            layout.PROFILE: [_profiled(*layer, kept) for layer in LAYERS],
        },
    )


def _stages(metrics):
    accuracy, parameters = metrics["accuracy"].value, metrics["parameters"].value
    rows = [
        ("train", 30.0, accuracy - 0.01, BASELINE["parameters"].value, 0),
        ("prune", 0.1, accuracy - 0.01, 2 * parameters, 2),
        ("factorize", 0.1, accuracy - 0.05, parameters, 3),
        ("recover", 8.0, accuracy, parameters, 3),
        ("fold", 0.1, accuracy, parameters, 4),
    ]
    names = ("stage", "seconds", "score", "parameters", "steps")
    return tuple(StageResult(**dict(zip(names, row, strict=True))) for row in rows)


def _curve(accuracy):
    return tuple(_epoch(n, accuracy) for n in range(7))


def _epoch(n, accuracy):
    stage, epoch = ("train", n + 1) if n < 5 else ("recover", n - 4)
    loss = 1 / (n + 1)
    return EpochRecord(
        stage=stage,
        epoch=epoch,
        train_loss=loss,
        valid_loss=loss * 1.2,
        score=accuracy * (1 - 0.4 / (n + 1) ** 2),
    )


def _layer(name, kind, width, inputs, kept):
    left = max(1, round(width * kept))
    return {
        "name": name,
        "type": kind,
        "before": [width, inputs, 3, 3],
        "after": [[left, inputs, 3, 3]],
        "rank": None,
        "parameters_before": width * inputs * 9,
        "parameters_after": left * inputs * 9,
        "sparsity": 0.0,
    }


def _profiled(name, kind, width, inputs, kept):
    left = max(1, round(width * kept))
    return {
        "name": name,
        "type": kind,
        "before": _timed(width, inputs, ms=0.05 * width),
        "after": _timed(left, inputs, ms=0.05 * left),
    }


def _timed(width, inputs, *, ms):
    macs, moved = width * inputs * 9 * 64, 256 * (width + inputs) + 36 * width * inputs
    return {"ms": ms, "macs": macs, "bytes": moved, "overhead_ms": 0.02, "widths": [width]}


def _linear(kept):
    rank = max(1, round(64 * kept))
    return {
        "name": "classifier.0",
        "type": "Linear",
        "before": [256, 1024],
        "after": [[rank, 1024], [256, rank]],
        "rank": rank,
        "parameters_before": 256 * 1024,
        "parameters_after": rank * 1280,
        "sparsity": 0.1,
    }
