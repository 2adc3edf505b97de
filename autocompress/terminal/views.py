"""What each command shows: rows and lines of text, made from a run's plain data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.dashboard.diagnosis import bounds, diagnosis
from autocompress.terminal.tables import Row
from autocompress.wording import (
    UNKNOWN,
    count,
    duration,
    in_one_line,
    milliseconds,
    percent,
    ratio,
    ratio_interval,
    recipe_in_short,
)

if TYPE_CHECKING:
    from autocompress.study import TrialRecord
    from autocompress.study.picks import Misses

Data = Mapping[str, Any]


def front_rows(document: Data) -> list[Row]:
    """Return the baseline and the front (``Run.front_document``), one row each."""
    tested = any(member.get("test_accuracy") is not None for member in document["front"])
    rows: list[Row] = [
        {"trial": "baseline", **_numbers(document["baseline"], tested=tested), "recipe": ""},
        *(
            {
                "trial": str(member["trial"]),
                **_numbers(member, tested=tested),
                "recipe": recipe_in_short(member["recipe"]),
            }
            for member in document["front"]
        ),
    ]
    return rows if document["baseline"] else rows[1:]


def _numbers(metrics: Data, *, tested: bool) -> dict[str, str]:
    test = {"test": percent(metrics.get("test_accuracy"))} if tested else {}
    return {
        "accuracy": percent(metrics.get("accuracy")),
        **test,
        "latency": milliseconds(metrics.get("latency_ms")),
        "of baseline (95 %)": ratio_interval(metrics),
        "parameters": count(metrics.get("parameters")),
        "of baseline": ratio(metrics.get("parameter_ratio")),
        "size": count(metrics.get("size_bytes"), "B"),
    }


def status_lines(status: Data) -> Iterator[str]:
    """Return what ``Run.status`` says, without the table of reasons."""
    trials = status["trials"]
    states = ", ".join(f"{n} {name}" for name, n in trials.items() if n and name != "wanted")
    yield f"{status['study']}: {_how_far(status)}"
    wanted = "as many as fit the time" if trials["wanted"] is None else trials["wanted"]
    yield f"trials: {states or 'none yet'}, of {wanted} wanted"
    if status["eta_s"] is not None:
        yield f"ETA: {duration(status['eta_s'])}"
    size = status["front_size"]
    yield f"front: {size} model{'' if size == 1 else 's'}"
    if status["best"]:
        yield "best: " + ", ".join(f"{how} is trial {n}" for how, n in status["best"].items())
    if status["seconds_per_stage"]:
        spent = status["seconds_per_stage"].items()
        yield "mean time: " + ", ".join(f"{stage} {duration(s)}" for stage, s in spent)


def _how_far(status: Data) -> str:
    if status["active"]:
        return "running"
    return "finished" if status["finished"] else "interrupted; `autocompress resume` goes on"


def miss_lines(misses: "Misses | None") -> Iterator[str]:
    """Return which limits keep trials off the front, and the trial that comes nearest."""
    if misses is None:
        return
    for name, broken in misses.broken.items():
        alone = misses.alone.get(name, 0)
        yield f"limit {name}: broken by {broken} of {misses.tried[name]} trials, alone by {alone}"
    if misses.nearest is not None:
        over = ", ".join(f"{name} by {by:,.4g}" for name, by in misses.by.items())
        yield f"nearest is trial {misses.nearest.number}: it breaks {over}"


def reason_rows(status: Data) -> list[Row]:
    """Return why trials failed or were stopped."""
    return [
        {
            "trial": str(entry["trial"]),
            "state": entry["state"],
            "stage": entry["stage"] or UNKNOWN,
            "reason": in_one_line(entry["reason"]),
        }
        for entry in status["reasons"]
    ]


def metric_rows(metrics: Data, baseline: Data) -> list[Row]:
    """Return a trial's metrics beside the baseline's."""
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "accuracy": ("accuracy", percent),
        "test accuracy": ("test_accuracy", percent),
        "latency": ("latency_ms", milliseconds),
        "latency, in the search": ("search_latency_ms", milliseconds),
        "parameters": ("parameters", count),
        "nonzero parameters": ("nonzero", count),
        "multiply-adds": ("macs", count),
        "size": ("size_bytes", lambda value: count(value, "B")),
    }
    rows: list[Row] = []
    for name, (key, write) in shown.items():
        value, reference = metrics.get(key), baseline.get(key.removeprefix("search_"))
        if value is not None:
            of = ratio(value / reference) if reference and "accuracy" not in key else ""
            rows.append(
                {"": name, "trial": write(value), "baseline": write(reference), "ratio": of}
            )
    return rows


def setting_rows(settings: Data, prefix: str = "") -> list[Row]:
    """Return nested settings, one row for each value, under its dotted name."""
    rows: list[Row] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += setting_rows(value, f"{name}.")
        else:
            rows.append({"setting": name, "value": "off" if value is None else str(value)})
    return rows


def layer_rows(layers: Sequence[Data]) -> list[Row]:
    """Return each layer's shape, rank and sparsity before and after."""
    return [
        {
            "layer": layer["name"],
            "type": layer["type"],
            "before": _shape(layer["before"]),
            "after": " + ".join(_shape(shape) for shape in layer["after"]) or "removed",
            "rank": UNKNOWN if layer["rank"] is None else str(layer["rank"]),
            "parameters": count(layer["parameters_after"]),
            "of baseline": ratio(layer["parameters_after"] / layer["parameters_before"]),
            "zeros": percent(layer["sparsity"], 0),
        }
        for layer in layers
    ]


def profile_rows(profile: Sequence[Data]) -> list[Row]:
    """Return each layer's time before and after, and what it is bound by."""
    found = bounds(profile)
    return [
        {
            "layer": row["name"],
            "before": milliseconds(row["before"]["ms"]),
            "after": milliseconds(row["after"]["ms"]),
            "of baseline": ratio(row["after"]["ms"] / row["before"]["ms"]),
            "multiply-adds": ratio(_left(row, "macs")),
            "bound by": found[row["name"]] or "arithmetic",
        }
        if row["after"]
        else {
            "layer": row["name"],
            "before": milliseconds(row["before"]["ms"]),
            "after": "removed",
        }
        for row in profile
    ]


def _left(row: Data, what: str) -> float | None:
    return row["after"][what] / row["before"][what] if row["before"][what] else None


def diagnosis_rows(profile: Sequence[Data]) -> list[Row]:
    """Return why the model is not faster, one sentence in each row."""
    return [{"why it is not faster": line} for line in diagnosis(profile)]


def curve_rows(curve: Sequence[Data]) -> list[Row]:
    """Return the training curve, one row per epoch."""
    return [
        {
            "stage": point["stage"],
            "epoch": str(point["epoch"]),
            "train loss": f"{point['train_loss']:.4f}",
            "valid loss": f"{point['valid_loss']:.4f}",
            "accuracy": percent(point["accuracy"]),
        }
        for point in curve
    ]


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def trial_lines(record: "TrialRecord", measurement: Data) -> Iterator[str]:
    """Return how a trial ended, and the distribution of its latency."""
    source = record.harvested_from
    shared = "" if source is None else f", harvested from the training of trial {source}"
    stage = f" in {record.stage}" if record.stage else ""
    yield f"trial {record.number}: {record.state}{stage}{shared}"
    if record.reason:
        yield f"reason: {record.reason}"
    if measurement:
        yield _latency_line(measurement)


def _latency_line(measurement: Data) -> str:
    spread = ", ".join(
        f"{name.removesuffix('_ms')} {milliseconds(measurement[name])}"
        for name in ("p10_ms", "p50_ms", "p90_ms")
        if measurement.get(name) is not None
    )
    samples = f" of {measurement['n']} calls" if measurement.get("n") else ""
    flag = f"; flagged: {measurement['flag']}" if measurement.get("flag") else ""
    return f"latency{samples}: {spread}{flag}"


def bench_rows(found: Data) -> list[Row]:
    """Return trials measured again (``study.benching.bench``), stored and new side by side."""
    return [
        {
            "trial": str(row["trial"]),
            "of baseline, stored (95 %)": ratio_interval(row["stored"]),
            "now (95 %)": ratio_interval(row),
            "latency": milliseconds(row["latency_ms"]),
            "contention": percent(row["contention"], 0),
            "flag": row["flag"] or "",
        }
        for row in found["trials"]
    ]


def plan_lines(plan: Data) -> Iterator[str]:
    """Return what ``autocompress plan`` found about data and model."""
    data, model = plan["data"], plan["model"]
    sizes = ", ".join(f"{data[name]} {name}" for name in ("train", "valid", "test"))
    yield f"study {plan['study']}: {plan['trials']} trials, training on {plan['device']}"
    classes, shape = len(data["classes"]), _shape(data["images"])
    yield f"data {data['source']}: {sizes}; {classes} classes; images {shape}"
    parameters, outputs = count(model["parameters"]), _shape(model["output_shape"])
    yield f"model {model['factory']}: {parameters} parameters; outputs {outputs}"


def unit_rows(plan: Data) -> list[Row]:
    """Return the groups of units, and why some of them stay."""
    return [
        {
            "layer": group["layer"],
            "kind": group["kind"],
            "units": str(group["units"]),
            "removable": "; ".join(group["not_removable"]) or "yes",
        }
        for group in plan["units"]
    ] + [
        {"layer": layer, "kind": "", "units": "", "removable": str(reason)}
        for layer, reason in plan["fixed"].items()
    ]


def staying_rows(units: Data) -> list[Row]:
    """Return the layers whose units stay, with the reasons."""
    return [row for row in unit_rows(units) if row["removable"] != "yes"]


def space_rows(search: Data) -> list[Row]:
    """Return the knobs that vary, then those that are fixed."""

    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            more = f" in steps of {value['step']}" if value.get("step") else ""
            return f"{value['low']} to {value['high']}{more}{', log' if value.get('log') else ''}"
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    varying = [name for name, value in search.items() if isinstance(value, Mapping | list)]
    fixed = [name for name in search if name not in varying]
    return [{"knob": name, "values": words(search[name])} for name in varying + fixed]
