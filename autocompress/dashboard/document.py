"""What the page shows of a run, as plain documents: texts, tables, columns and figures.

``overview`` is what is seen first; the other documents are asked for when they are looked at.
"""

import datetime
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import plotly.graph_objects as go

from autocompress import figures
from autocompress.dashboard.diagnosis import diagnosis
from autocompress.dashboard.stored import stored_files
from autocompress.dashboard.tables import (
    controls_table,
    front_table,
    reason_of,
    state_of,
    states_table,
    trial_table,
)
from autocompress.figures.metrics import RELATIVE, columns, kinds
from autocompress.study.picks import PICKS
from autocompress.study.records import STUDY_FILE, Run
from autocompress.study.trials import TrialRecord
from autocompress.wording import (
    count,
    duration,
    milliseconds,
    percent,
    ratio,
    ratio_interval,
    recipe_in_words,
)

Data = Mapping[str, Any]
_FORMULA = tuple("=+-@")  # what a spreadsheet takes for the start of one


def overview(run: Run) -> dict[str, Any]:
    """Return what the page shows first of a run, as it is now."""
    front, known, baseline = run.front(), run.trials(), run.baseline
    table, status = run.table(), run.status()
    on_front = {trial.number for trial in front}
    drawn: list[str] = kinds(table).tolist() if len(table) else []
    return {
        "study": run.name,
        "folder": str(run.path),
        "version": metadata.version("autocompress"),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "state": _state(status),
        "facts": _facts(run, status, known),
        "machine": [[str(k), str(v)] for k, v in run.fingerprint.items()],
        "study_file": (run.path / STUDY_FILE).read_text(encoding="utf-8"),
        "baseline": _card(baseline) if baseline else [],
        "baseline_accuracy": baseline.get("accuracy"),
        "picks": {how: run.pick(how).number for how in PICKS} if front else {},
        "points": {
            "trial": [trial.number for trial in known],
            "kind": drawn,
        },
        "columns": {n: c.plain() for n, c in columns(table, baseline, run.limits).items()},
        "relative": dict(RELATIVE),
        "front": front_table(front, baseline),
        "controls": controls_table(run),
        "states": states_table(known, on_front),
        "pareto": _plain(figures.pareto(table, baseline, limits=run.limits)),
    }


def trials(run: Run) -> dict[str, Any]:
    """Return the table of all trials."""
    return trial_table(run.trials(), {trial.number for trial in run.front()})


def space(run: Run) -> dict[str, Any]:
    """Return the figure of three metrics in space."""
    return _plain(figures.pareto_3d(run.table(), run.baseline))


def study_figures(run: Run) -> dict[str, Any]:
    """Return the figures of a run as a whole."""
    table, baseline = run.table(), run.baseline
    samples = {"baseline": _samples(baseline)}
    for trial in run.front():
        samples[f"trial {trial.number}"] = _trial_samples(trial)
    made = {
        "history": figures.history(table, baseline),
        "importance": figures.importance(run.importances()),
        "slices": figures.slices(table),
        "parallel": figures.parallel(table),
        "timeline": figures.timeline(table),
        "samples": figures.latency(samples),
    }
    return {name: _plain(figure) for name, figure in made.items()}


def details(run: Run, number: int) -> dict[str, Any]:
    """Return all that is known of one trial.

    Raises:
        UsageError: there is no such trial.
    """
    trial, baseline, units = run.trial(number), run.baseline, run.units
    files = stored_files(trial)
    samples = {
        "baseline": _samples(baseline),
        f"trial {number}": files["measurement"].get("samples_ms", []),
    }
    stages = trial.metrics.get("stages") or files["stages"]  # the last word has each latency
    fixed = dict(units["fixed"])
    fixed |= {g["layer"]: "; ".join(g["not_removable"]) for g in _staying(units)}
    return {
        "trial": number,
        "title": f"Trial {number}",
        "short": trial.in_short,
        "state": state_of(trial, {member.number for member in run.front()}),
        "reason": reason_of(trial),
        "harvested_from": trial.harvested_from,
        "words": recipe_in_words(trial.recipe),
        "numbers": _beside_baseline(trial.metrics, baseline),
        "export": _export_command(run, trial) if trial.folder else None,
        "recipe": _settings(trial.recipe),
        "time": [[stage, duration(spent)] for stage, spent in trial.seconds.items()],
        "fixed": [[name, why] for name, why in fixed.items()],
        "diagnosis": list(diagnosis(files["profile"])),
        "figures": {
            "widths": _plain(figures.widths(files["layers"], fixed)),
            "curve": _plain(figures.curve(files["curve"], trial.recipe)),
            "latency": _plain(figures.latency(samples)),
            "stages": _plain(figures.stages(stages, baseline)),
        },
    }


def as_csv(run: Run) -> str:
    """Return the table of trials; a text that a spreadsheet would run as a formula is quoted."""
    quoted = run.table().map(lambda v: f"'{v}" if isinstance(v, str) and v[:1] in _FORMULA else v)
    text: str = quoted.to_csv(index=False)
    return text


def _staying(units: Data) -> list[Any]:
    return [group for group in units["units"] if group["not_removable"]]


def _samples(baseline: Data) -> Sequence[float]:
    found: Sequence[float] = baseline.get("latency", {}).get("samples_ms", [])
    return found


def _trial_samples(trial: TrialRecord) -> Sequence[float]:
    found: Sequence[float] = stored_files(trial)["measurement"].get("samples_ms", [])
    return found


def _export_command(run: Run, trial: TrialRecord) -> str:
    target = shlex.quote(f"{run.name}-{trial.number}")
    folder = shlex.quote(str(run.path))
    return f"autocompress export {folder} --trial {trial.number} -o {target}"


def _state(status: Data) -> dict[str, Any]:
    trials, eta = status["trials"], status["eta_s"]
    done = trials["complete"] + trials["pruned"] + trials["failed"]
    wanted = None if trials["wanted"] is None else max(trials["wanted"], done)
    progress = f"{done} trials" if wanted is None else f"{done} of {wanted} trials"
    found = {"done": done, "wanted": wanted}
    if done and done == trials["failed"]:
        return {"kind": "failed", "text": f"no trial succeeded, {progress}", **found}
    if status["finished"]:
        return {"kind": "finished", "text": f"finished, {progress}", **found}
    if status["active"]:
        left = f", about {duration(eta)} left" if eta else ""
        return {"kind": "running", "text": f"running, {progress}{left}", **found}
    return {"kind": "unfinished", "text": f"interrupted, {progress}; resume goes on", **found}


def _facts(run: Run, status: Data, trials: Sequence[TrialRecord]) -> list[str]:
    counts = status["trials"]
    states = ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "wanted")
    spent = sum(trial.duration_s or 0.0 for trial in trials)
    limits = run.config.get("limits", {})
    return [
        f"{run.config['model']['factory']} on {run.config['data']['source']}",
        f"trials: {states or 'none yet'}",
        *([f"{duration(spent)} in trials"] if spent else []),
        *(f"limit: {name.replace('_', ' ')} {value:g}" for name, value in limits.items()),
    ]


def _card(metrics: Data) -> list[list[str]]:
    tested = metrics.get("test_accuracy")
    return [
        ["accuracy, valid", percent(metrics["accuracy"])],
        *([["accuracy, test", percent(tested)]] if tested is not None else []),
        ["latency", milliseconds(metrics["latency_ms"])],
        ["parameters", count(metrics["parameters"])],
        ["size on disk", count(metrics.get("size_bytes"), "B")],
        ["multiply-adds", count(metrics.get("macs"))],
    ]


def _beside_baseline(metrics: Data, baseline: Data) -> list[list[str]]:
    """Return rows of a number's name, the baseline's, the model's, and their relation."""
    rows = []
    for key, told in (("accuracy", "accuracy, valid"), ("test_accuracy", "accuracy, test")):
        if key in metrics and key in baseline:
            change = 100 * (metrics[key] - baseline[key])
            rows.append(
                [told, percent(baseline[key]), percent(metrics[key]), f"{change:+.2f} points"]
            )
    for key, told, write in (
        ("latency_ms", "latency", milliseconds),
        ("parameters", "parameters", count),
        ("size_bytes", "size on disk", lambda value: count(value, "B")),
        ("macs", "multiply-adds", count),
    ):
        if key in metrics and baseline.get(key):
            interval = ratio_interval(metrics) if key == "latency_ms" else None
            beside = interval or ratio(metrics[key] / baseline[key])
            rows.append([told, write(baseline[key]), write(metrics[key]), beside])
    return rows


def _settings(recipe: Data, prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            rows += _settings(value, f"{prefix}{key}.")
        else:
            rows.append([f"{prefix}{key}", "off" if value is None else str(value)])
    return rows


def _plain(made: go.Figure) -> dict[str, Any]:
    plain: dict[str, Any] = made.to_plotly_json()
    return plain
