"""What each command shows: rows and lines of text, made from a run's documents."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autocompress.cli.tables import Row
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.formatting import (
    UNKNOWN,
    count,
    duration,
    format_change,
    format_interval,
    format_value,
    in_one_line,
    percent,
    ratio,
    short_title,
)
from autocompress.metrics.metric import LATENCY
from autocompress.metrics.splits import in_order, split_title

if TYPE_CHECKING:
    from autocompress.results import EpochRecord, LayerChange, LayerProfile, LayerWork
    from autocompress.runs import Run, TrialRecord
    from autocompress.runs.files import Measurement
    from autocompress.runs.picks import Infeasibility
    from autocompress.runs.status import Status
    from autocompress.runs.stored import Structure
    from autocompress.study.check import Check
    from autocompress.study.remeasure import Remeasurement

Data = Mapping[str, Any]


def status_lines(status: "Status") -> Iterator[str]:
    """Return how far a run is, without the table of reasons."""
    states = ", ".join(f"{n} {name}" for name, n in vars(status.counts).items() if n)
    yield f"{status.study}: {_how_far(status)}"
    for damage in status.damages:
        yield f"DAMAGED: {damage}"
    wanted = "as many as fit the time" if status.wanted is None else status.wanted
    yield f"trials: {states or 'none yet'}, of {wanted} wanted"
    if status.eta_s is not None:
        yield f"ETA: {duration(status.eta_s)}"
    size = status.front_size
    yield f"front: {size} model{'' if size == 1 else 's'}"
    if status.best:
        yield "best: " + ", ".join(f"{how} is trial {n}" for how, n in status.best.items())
    if status.seconds_per_stage:
        spent = status.seconds_per_stage.items()
        yield "mean time: " + ", ".join(f"{stage} {duration(s)}" for stage, s in spent)


def _how_far(status: "Status") -> str:
    if status.active:
        return "running"
    return "finished" if status.finished else "interrupted; `autocompress resume` goes on"


def infeasibility_lines(found: "Infeasibility | None") -> Iterator[str]:
    """Return which limits keep trials off the front, and the trial that comes nearest."""
    if found is None:
        return
    for name, broken in found.broken.items():
        alone = found.alone.get(name, 0)
        yield f"limit {name}: broken by {broken} of {found.tried[name]} trials, alone by {alone}"
    if found.nearest is not None:
        over = ", ".join(f"{name} by {by:,.4g}" for name, by in found.by.items())
        yield f"nearest is trial {found.nearest.number}: it breaks {over}"


def reason_rows(status: "Status") -> list[Row]:
    """Return why trials failed or were stopped."""
    return [
        {
            "trial": str(entry.trial),
            "state": entry.state,
            "stage": entry.stage or UNKNOWN,
            "reason": in_one_line(entry.reason),
        }
        for entry in status.reasons
    ]


def metric_rows(run: "Run", record: "TrialRecord") -> list[Row]:
    """Return a trial's metrics beside the baseline's, and what the search measured otherwise."""
    rows: list[Row] = []
    for metric in in_order(run.metrics):
        name = metric.name
        if name not in record.metrics:
            continue
        found = {"": record.metrics[name]}
        if name in record.searched and record.searched[name] != record.metrics[name]:
            found[", in the search"] = record.searched[name]
        baseline = run.baseline.get(name)
        for when, estimate in found.items():
            rows.append(
                {
                    "": f"{split_title(metric, run.metrics)}{when}",
                    "trial": format_value(metric, estimate),
                    "baseline": format_value(metric, baseline),
                    "change": format_change(metric, estimate, baseline),
                }
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


def layer_rows(layers: "Sequence[LayerChange]") -> list[Row]:
    """Return each layer's shape, rank and sparsity before and after."""
    return [
        {
            "layer": layer.name,
            "type": layer.type,
            "before": _shape(layer.before),
            "after": " + ".join(_shape(shape) for shape in layer.after) or "removed",
            "rank": UNKNOWN if layer.rank is None else str(layer.rank),
            "parameters": count(layer.parameters_after),
            "of baseline": ratio(layer.parameters_after / layer.parameters_before),
            "zeros": percent(layer.sparsity, 0),
        }
        for layer in layers
    ]


def profile_rows(profile: "Sequence[LayerProfile]") -> list[Row]:
    """Return each layer's time before and after, and what it is bound by."""
    from autocompress.figures.bottlenecks import bounds

    found = bounds(profile)
    rows: list[Row] = []
    for layer in profile:
        before, after = layer.before, layer.after
        row = {"layer": layer.name, "before": _time(before.ms if before else None)}
        if after is None:
            row["after"] = "removed"
        else:
            row |= {
                "after": _time(after.ms),
                "of baseline": ratio(after.ms / before.ms if before else None),
                "multiply-adds": _left(before, after),
                "bound by": found[layer.name] or "arithmetic",
            }
        rows.append(row)
    return rows


def _left(before: "LayerWork | None", after: "LayerWork") -> str:
    return ratio(after.macs / before.macs) if before and before.macs else UNKNOWN


def _time(ms: float | None) -> str:
    return format_value(LATENCY, ms)


def diagnosis_rows(profile: "Sequence[LayerProfile]") -> list[Row]:
    """Return why the model is not faster, one sentence in each row."""
    from autocompress.figures.bottlenecks import diagnosis

    return [{"why it is not faster": line} for line in diagnosis(profile)]


def curve_rows(curve: "Sequence[EpochRecord]", score: Metric) -> list[Row]:
    """Return the training curve, one row per epoch."""
    return [
        {
            "stage": point.stage,
            "epoch": str(point.epoch),
            "train loss": f"{point.train_loss:.4f}",
            "valid loss": f"{point.valid_loss:.4f}",
            short_title(score): format_value(score, point.score),
        }
        for point in curve
    ]


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def trial_lines(record: "TrialRecord", measurement: "Measurement") -> Iterator[str]:
    """Return how a trial ended, and the distribution of its latency."""
    shared = "" if record.parent is None else f", derived from the training of {record.parent}"
    stage = f" in {record.stage}" if record.stage else ""
    yield f"trial {record.number}: {record.state}{stage}{shared}"
    if record.reason:
        yield f"reason: {record.reason}"
    if measurement.p50_ms is not None:
        yield _latency_line(measurement)


def _latency_line(measurement: "Measurement") -> str:
    known = {"p10": measurement.p10_ms, "p50": measurement.p50_ms, "p90": measurement.p90_ms}
    spread = ", ".join(f"{name} {_time(ms)}" for name, ms in known.items() if ms is not None)
    samples = f" of {measurement.n} calls" if measurement.n else ""
    flag = f"; flagged: {measurement.flag}" if measurement.flag else ""
    return f"latency{samples}: {spread}{flag}"


def bench_rows(found: "Remeasurement") -> list[Row]:
    """Return trials that were measured again, stored and new side by side."""
    return [
        {
            "trial": str(row.trial),
            "of baseline, stored (95 %)": format_interval(
                LATENCY, row.stored, found.baseline.stored
            ),
            "now (95 %)": _interval(row.ratio),
            "latency": format_value(LATENCY, row.latency_ms),
            "contention": percent(row.contention, 0),
            "flag": row.latency_ms.flag or "",
        }
        for row in found.trials
    ]


def _interval(found: Estimate) -> str:
    return format_interval(LATENCY, found, Estimate(value=1.0))


def plan_lines(plan: "Check") -> Iterator[str]:
    """Return what ``autocompress plan`` found about data and model."""
    data, model = plan.data, plan.model
    sizes = ", ".join(f"{number} {name}" for name, number in data.sizes.items())
    about = [sizes, *([f"{len(data.classes)} classes"] if data.classes else [])]
    outputs = _shape(model.outputs) if model.outputs else UNKNOWN
    yield f"study {plan.study}: {plan.trials} trials, training on {plan.device}"
    yield f"data {data.source}: {'; '.join(about)}; inputs {_shape(data.inputs)}"
    parameters = count(model.parameters)
    yield f"model {model.factory}: {parameters} parameters; outputs {outputs}"
    objectives = ", ".join(f"{way} {name}" for name, way in plan.objectives.items())
    yield f"objectives: {objectives}"
    limits = ", ".join(f"{name} {bound:,g}" for name, bound in plan.limits.items())
    yield f"limits: {limits or 'none'}"


def unit_rows(structure: "Structure") -> list[Row]:
    """Return the groups of units, and why some of them stay."""
    rows: list[Row] = [
        {
            "layer": group.layer,
            "kind": group.kind,
            "units": str(group.units),
            "removable": "; ".join(group.not_removable) or "yes",
        }
        for group in structure.units
    ]
    for layer, reason in structure.fixed.items():
        rows.append({"layer": layer, "kind": "", "units": "", "removable": reason})
    return rows


def staying_rows(structure: "Structure") -> list[Row]:
    """Return the layers whose units stay, with the reasons."""
    return [row for row in unit_rows(structure) if row["removable"] != "yes"]


def space_rows(search: Data) -> list[Row]:
    """Return the search parameters that vary, then those that are fixed."""

    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            more = f" in steps of {value['step']}" if value.get("step") else ""
            return f"{value['low']} to {value['high']}{more}{', log' if value.get('log') else ''}"
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    varying = [name for name, value in search.items() if isinstance(value, Mapping | list)]
    fixed = [name for name in search if name not in varying]
    return [{"parameter": name, "values": words(search[name])} for name in varying + fixed]
