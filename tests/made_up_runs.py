"""Run folders with made-up numbers: what reading, showing and reporting need, without training."""

import math
import random

import optuna

from autocompress.artifacts import write_bytes, write_folder, write_json
from autocompress.study.records import FORMAT, Run
from autocompress.study.storage import open_storage

BASELINE = {
    "accuracy": 0.982,
    "latency_ms": 2.0,
    "latency_ratio": 1.0,
    "parameter_ratio": 1.0,
    "parameters": 1_200_000,
    "nonzero": 1_200_000,
    "macs": 30_000_000,
    "size_bytes": 4_810_000,
    "latency": {"samples_ms": [2.0 + 0.01 * (n % 9) for n in range(200)], "n": 200},
}
STUDY = """\
[study]
name = "{name}"
trials = {wanted}
[data]
source = "digits"
[model]
factory = "autocompress:vgg_small"
[limits]
accuracy_drop = 0.05
"""
LAYERS = (("features.0", "Conv2d", 32, 1), ("features.3", "Conv2d", 64, 32))
REASON = "<script>alert('x')</script> & outputs differ by 0.3"


def made_up_run(folder, *, complete=24, failed=2, pruned=3, running=0, finished=True, wanted=30):
    """Write a run with so many trials of each state into ``folder``, and open it."""
    folder.mkdir(parents=True)
    name = folder.name
    write_bytes(folder / "study.toml", STUDY.format(name=name, wanted=wanted).encode())
    objectives = {"accuracy": "maximize", "latency_ms": "minimize", "parameters": "minimize"}
    header = {
        "format": FORMAT,
        "name": name,
        "created": "2026-01-02T03:04:05+00:00",
        "objectives": objectives,
        "fingerprint": {"processor": "Example CPU", "torch": "2.11.0", "threads": 1},
        "digests": {},
    }
    write_json(folder / "run.json", header)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name, storage=open_storage(folder), directions=list(objectives.values())
    )
    if complete + failed + pruned + running:
        (folder / "baseline").mkdir()
        write_json(folder / "baseline" / "metrics.json", BASELINE)
    chance = random.Random(0)
    states = ["complete"] * complete + ["failed"] * failed + ["pruned"] * pruned
    chance.shuffle(states)
    for state in [*states, *["running"] * running]:
        add_trial(study, folder, state, chance)
    run = Run.open(folder)
    if finished and run.front():
        words = {str(t.number): _last_word(t.metrics) for t in run.front()}
        last_word = {"baseline": {"test_accuracy": 0.979}, "trials": words}
        write_json(folder / "last_word.json", last_word)
    return run


def _last_word(metrics):
    return {
        "test_accuracy": metrics["accuracy"] - 0.004,
        **{
            f"final_{key}": metrics[key] * 1.01
            for key in ("latency_ms", "latency_ratio", "latency_ratio_low", "latency_ratio_high")
        },
    }


def _recipe(kept, chance):
    return {
        "distillation": chance.choice([None, {"loss": "soft_target", "weight": 0.5}]),
        "sparsification": {
            "sparsity": round(1 - kept, 2),
            "granularity": "filter",
            "linear_sparsity": 0.5,
            "linear_granularity": "row",
            "scope": "local",
            "criterion": "large_final",
            "schedule": "cosine",
        },
        "pruning": {"round_to": 1},
        "factorization": chance.choice([None, {"rank": 0.25, "convolution_rank": None}]),
        "fold": True,
        "training": {"epochs": 5, "recovery_epochs": 2, "learning_rate": 0.003},
    }


def add_trial(study, folder, state, chance):
    """Add a trial with made-up numbers to a run."""
    kept = chance.uniform(0.1, 1.0)
    trial = study.ask()
    recipe = _recipe(kept, chance)
    trial.set_user_attr("recipe", recipe)
    trial.set_user_attr("params", {"sparsity": 1 - kept, "fold": True})
    if state == "running":
        return
    if state != "complete":
        stages = {"failed": ("prune", REASON), "pruned": ("draft", "over the limit")}
        for key, value in zip(("stage", "reason"), stages[state], strict=True):
            trial.set_user_attr(key, value)
        ended = {"failed": optuna.trial.TrialState.FAIL, "pruned": optuna.trial.TrialState.PRUNED}
        study.tell(trial, state=ended[state])
        return
    ratio = kept * chance.uniform(0.8, 1.1)
    accuracy = min(0.99, 0.985 - 0.05 * math.exp(-6 * kept) - chance.uniform(0, 0.03))
    metrics = {
        "accuracy": accuracy,
        "latency_ms": 2.0 * ratio,
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * 0.97,
        "latency_ratio_high": ratio * 1.04,
        "latency_flag": None,
        "parameters": int(1_200_000 * kept**2),
        "parameter_ratio": kept**2,
        "nonzero": int(1_100_000 * kept**2),
        "macs": int(30_000_000 * kept**2),
        "macs_uncounted": [],
        "size_bytes": int(4_810_000 * kept**2),
    }
    trial.set_user_attr("metrics", metrics)
    trial.set_user_attr("seconds", {"sparsify": 4.0, "recover": 1.5})
    trial.set_constraint("accuracy_drop", BASELINE["accuracy"] - accuracy - 0.05)
    samples = [2.0 * ratio + 0.005 * (n % 13) for n in range(200)]
    measurement = {"n": 200, "p10_ms": samples[0], "p50_ms": samples[100], "p90_ms": samples[12]}
    write_folder(
        folder / "trials" / f"{trial.number:05d}",
        {
            "recipe.json": recipe,
            "measurement.json": {**measurement, "samples_ms": samples, "flag": None},
            "curve.json": [_epoch(n, accuracy) for n in range(7)],
            "layers.json": [_layer(*layer, kept) for layer in LAYERS] + [_linear(kept)],
            "profile.json": [_profiled(*layer, kept) for layer in LAYERS],
        },
    )
    study.tell(trial, [accuracy, metrics["latency_ms"], metrics["parameters"]])


def _epoch(n, accuracy):
    stage, epoch = ("sparsify", n + 1) if n < 5 else ("recover", n - 4)
    loss = 1 / (n + 1)
    reached = accuracy * (1 - 0.4 / (n + 1) ** 2)
    return {
        "stage": stage,
        "epoch": epoch,
        "train_loss": loss,
        "valid_loss": loss * 1.2,
        "accuracy": reached,
    }


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
