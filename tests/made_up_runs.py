"""Run folders with made-up numbers: what reading, showing and reporting need, without training."""

import datetime
import math
import random

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from autocompress.artifacts import write_bytes, write_folder, write_json
from autocompress.study.records import FORMAT, Run
from autocompress.study.storage import open_storage

BASELINE = {
    "accuracy": 0.982,
    "valid_images": 500,
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
BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5)
STATES = {
    "complete": TrialState.COMPLETE,
    "harvested": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
    "stopped": TrialState.PRUNED,
    "running": TrialState.RUNNING,
}
REASON = "<script>alert('x')</script> & outputs differ by 0.3"


def made_up_run(
    folder, *, complete=24, failed=2, pruned=3, stopped=0, harvested=0, running=0,
    finished=True, wanted=30,
):  # fmt: skip
    """Write a run with so many trials of each state into ``folder``, and open it."""
    folder.mkdir(parents=True)
    name = folder.name
    write_bytes(folder / "study.toml", STUDY.format(name=name, wanted=wanted).encode())
    objectives = {"accuracy": "maximize", "latency_ms": "minimize", "parameters": "minimize"}
    header = {
        "format": FORMAT,
        "name": name,
        "created": f"{BEGAN.isoformat()}+00:00",
        "objectives": objectives,
        "fingerprint": {"processor": "Example CPU", "torch": "2.11.0", "threads": 1},
        "digests": {},
    }
    write_json(folder / "run.json", header)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name, storage=open_storage(folder), directions=list(objectives.values())
    )
    counts = {
        "complete": complete,
        "failed": failed,
        "pruned": pruned,
        "stopped": stopped,
        "harvested": harvested,
    }
    states = [state for state, count in counts.items() for _ in range(count)]
    if states or running:
        (folder / "baseline").mkdir()
        write_json(folder / "baseline" / "metrics.json", BASELINE)
        write_json(folder / "baseline" / "units.json", UNITS)
    chance = random.Random(0)
    chance.shuffle(states)
    for number, state in enumerate([*states, *["running"] * running]):
        add_trial(study, folder, number, state, chance)
    run = Run.open(folder)
    if finished and run.front():
        words = {str(t.number): _last_word(t.metrics) for t in run.front()}
        last_word = {"baseline": {"test_accuracy": 0.979}, "trials": words}
        write_json(folder / "last_word.json", last_word)
    return run


def _last_word(metrics):
    final = [n for n in metrics if n.startswith("latency_") and n != "latency_flag"]
    return {
        "test_accuracy": metrics["accuracy"] - 0.004,
        "stages": [
            {"latency_ms": metrics["latency_ms"] * (2 - n / 4), **row}
            for n, row in enumerate(_stages(metrics))
        ],
        **{f"final_{key}": metrics[key] * 1.01 for key in final},
    }


def _recipe(kept, chosen, chance):
    return {
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


def add_trial(study, folder, number, state, chance):
    """Add a trial with made-up numbers to a run: two workers, some forty seconds each."""
    kept = chance.uniform(0.1, 1.0)
    chosen = {knob: chance.choice(choices) for knob, choices in CHOICES.items()}
    knobs = {"sparsity": 1 - kept, **chosen}
    recipe = _recipe(kept, chosen, chance)
    facts = {"recipe": recipe, "params": {**knobs, "fold": True}, **_ending(state)}
    values, constraints = None, {}
    if state in ("complete", "harvested"):
        metrics = _metrics(kept, chance)
        values = [metrics[key] for key in ("accuracy", "latency_ms", "parameters")]
        facts |= {"metrics": metrics, "seconds": {"sparsify": 30.0, "recover": 8.0}}
        constraints = {"accuracy_drop": BASELINE["accuracy"] - metrics["accuracy"] - 0.05}
        _write(folder / "trials" / f"{number:05d}", recipe, metrics, kept)
    elif state == "stopped":
        known = _metrics(kept, chance)
        facts["metrics"] = {key: known[key] for key in ("latency_ms", "parameters")}
    made = optuna.trial.create_trial(
        state=STATES[state],
        values=values,
        params=knobs,
        distributions={
            "sparsity": FloatDistribution(0, 1),
            **{knob: CategoricalDistribution(choices) for knob, choices in CHOICES.items()},
        },
        user_attrs=facts,
        constraints=constraints,
    )
    made.datetime_start = BEGAN + datetime.timedelta(seconds=20 * number)
    if state != "running":
        lasts = datetime.timedelta(seconds=chance.uniform(25, 40))
        made.datetime_complete = made.datetime_start + lasts
    study.add_trial(made)


def _ending(state):
    if state == "failed":
        return {"stage": "prune", "reason": REASON}
    if state == "pruned":
        return {"stage": "draft", "reason": "over the limit"}
    if state == "stopped":
        reason = "at most 96.00 %, which trial 0 beats"
        return {"stage": "sparsify", "reason": reason, "stopped": {"epoch": 2, "bound": 0.96}}
    return {"harvested_from": 0} if state == "harvested" else {}


def _metrics(kept, chance):
    ratio = kept * chance.uniform(0.8, 1.1)
    return {
        "accuracy": min(0.99, 0.985 - 0.09 * math.exp(-6 * kept) - chance.uniform(0, 0.03)),
        "latency_ms": 2.0 * ratio,
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * 0.97,
        "latency_ratio_high": ratio * 1.04,
        "latency_ms_p10": 1.9 * ratio,
        "latency_ms_p90": 2.2 * ratio,
        "latency_flag": None,
        "parameters": int(1_200_000 * kept**2),
        "parameter_ratio": kept**2,
        "nonzero": int(1_100_000 * kept**2),
        "macs": int(30_000_000 * kept**2),
        "macs_uncounted": [],
        "size_bytes": int(4_810_000 * kept**2),
    }


def _write(folder, recipe, metrics, kept):
    latency = metrics["latency_ms"]
    samples = [latency + 0.005 * (n % 13) for n in range(200)]
    measurement = {"n": 200, "p10_ms": samples[0], "p50_ms": samples[100], "p90_ms": samples[12]}
    write_folder(
        folder,
        {
            "recipe.json": recipe,
            "measurement.json": {**measurement, "samples_ms": samples, "flag": None},
            "curve.json": [_epoch(n, metrics["accuracy"]) for n in range(7)],
            "layers.json": [_layer(*layer, kept) for layer in LAYERS] + [_linear(kept)],
            "stages.json": _stages(metrics),
            "profile.json": [_profiled(*layer, kept) for layer in LAYERS],
        },
    )


def _stages(metrics):
    accuracy, parameters = metrics["accuracy"], metrics["parameters"]
    known = [
        ("sparsify", accuracy - 0.01, BASELINE["parameters"]),
        ("prune", accuracy - 0.01, 2 * parameters),
        ("factorize", accuracy - 0.05, parameters),
        ("recover", accuracy, parameters),
        ("fold", accuracy, parameters),
    ]
    rows = [dict(zip(("stage", "accuracy", "parameters"), row, strict=True)) for row in known]
    rows[-1]["latency_ms"] = metrics["latency_ms"]
    return rows


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
