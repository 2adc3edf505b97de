"""Everything that the page shows, as one plain document: texts, tables and figures."""

import datetime
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import plotly.graph_objects as go

from autocompress.dashboard import figures
from autocompress.dashboard.comparison import COLUMNS, comparison
from autocompress.dashboard.stored import stored_files
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
    recipe_in_short,
)

Cell = dict[str, Any]  # {"text": what is shown, "sort": what orders it}
Data = Mapping[str, Any]
_COLUMNS = {
    "trial": "trial",
    "accuracy": "accuracy, valid",
    "test_accuracy": "accuracy, test",
    "latency_ms": "latency",
    "latency_ratio": "of baseline (95 %)",
    "parameters": "parameters",
    "parameter_ratio": "of baseline",
    "size_bytes": "size",
    "recipe": "recipe",
}


def document(run: Run) -> dict[str, Any]:
    """Return all that the page shows of a run, as it is now."""
    front, trials, baseline = run.front(), run.trials(), run.baseline
    status = run.status()
    return {
        "study": run.name,
        "folder": str(run.path),
        "version": metadata.version("autocompress"),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "state": _state(status),
        "facts": _facts(run, status, trials),
        "machine": [[str(k), str(v)] for k, v in run.fingerprint.items()],
        "study_file": (run.path / STUDY_FILE).read_text(encoding="utf-8"),
        "baseline": _card(baseline) if baseline else [],
        "picks": _picks(run, baseline) if front else [],
        "front": _front_table(front, baseline),
        "controls": _controls_table(run),
        "trials": _trial_table(trials, {trial.number for trial in front}),
        "figures": {name: _plain(made) for name, made in _figures(run, front).items()},
        "details": [_details(run, trial) for trial in front],
    }


def _state(status: Data) -> dict[str, str]:
    trials = status["trials"]
    done = trials["complete"] + trials["pruned"] + trials["failed"]
    progress = f"{done} of {trials['wanted']} trials"
    if status["finished"]:
        return {"kind": "finished", "text": f"finished, {progress}"}
    if done and done == trials["failed"]:
        return {"kind": "failed", "text": f"no trial succeeded, {progress}"}
    if trials["running"]:
        return {"kind": "running", "text": f"running, {progress}"}
    return {"kind": "unfinished", "text": f"not finished, {progress}"}


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
        ["size", count(metrics.get("size_bytes"), "B")],
        ["multiply-adds", count(metrics.get("macs"))],
    ]


def _picks(run: Run, baseline: Data) -> list[dict[str, Any]]:
    cards: dict[int, dict[str, Any]] = {}
    for how in PICKS:
        trial = run.pick(how)
        card = cards.setdefault(
            trial.number,
            {"names": [], "trial": trial.number, "numbers": _gains(trial.metrics, baseline)},
        )
        card["names"].append(how)
    return list(cards.values())


def _gains(metrics: Data, baseline: Data) -> list[list[str]]:
    points = 100 * (metrics["accuracy"] - baseline["accuracy"])
    return [
        ["faster", f"{1 / metrics['latency_ratio']:.2f}x"],
        ["fewer parameters", f"{1 / metrics['parameter_ratio']:.2f}x"],
        ["points of accuracy", f"{points:+.2f}"],
    ]


def _row(metrics: Data, trial: str, recipe: str) -> dict[str, Cell]:
    texts = {
        "trial": trial,
        "accuracy": percent(metrics.get("accuracy")),
        "test_accuracy": percent(metrics.get("test_accuracy")),
        "latency_ms": milliseconds(metrics.get("latency_ms")),
        "latency_ratio": ratio_interval(metrics),
        "parameters": count(metrics.get("parameters")),
        "parameter_ratio": ratio(metrics.get("parameter_ratio")),
        "size_bytes": count(metrics.get("size_bytes"), "B"),
        "recipe": recipe,
    }
    return {key: {"text": text, "sort": metrics.get(key, text)} for key, text in texts.items()}


def _last_word(metrics: Data) -> Data:
    """Return metrics with the latency of the last word in place of the trial's own."""
    final = {k.removeprefix("final_"): v for k, v in metrics.items() if k.startswith("final_")}
    return {**metrics, **final}


def _front_table(front: Sequence[TrialRecord], baseline: Data) -> dict[str, Any]:
    tested = any("test_accuracy" in trial.metrics for trial in front)
    keys = [key for key in _COLUMNS if tested or key != "test_accuracy"]
    rows = [_row(baseline, "baseline", "")] if baseline else []
    for trial in sorted(front, key=lambda trial: _last_word(trial.metrics)["latency_ms"]):
        row = _row(_last_word(trial.metrics), str(trial.number), recipe_in_short(trial.recipe))
        row["trial"]["sort"] = trial.number
        rows.append(row)
    return _table({key: _COLUMNS[key] for key in keys}, rows)


def _controls_table(run: Run) -> dict[str, Any]:
    columns = {name or "what": name for name in COLUMNS}
    rows = [
        {name: {"text": text} for name, text in zip(columns, row, strict=True)}
        for row in comparison(run)
    ]
    return _table(columns, rows)


def _trial_table(trials: Sequence[TrialRecord], on_front: set[int]) -> dict[str, Any]:
    keys = ("trial", "accuracy", "latency_ms", "latency_ratio", "parameters", "parameter_ratio")
    columns = {key: _COLUMNS[key] for key in keys}
    columns |= {"state": "state", "time": "time", "recipe": "recipe", "reason": "reason"}
    rows = []
    for trial in trials:
        row = _row(trial.metrics, str(trial.number), recipe_in_short(trial.recipe))
        row["trial"]["sort"] = trial.number
        seconds = trial.duration_s
        stage = f"{trial.stage}: " if trial.stage and trial.reason else ""
        row |= {
            "state": {"text": _state_of(trial, on_front)},
            "time": {"text": duration(seconds), "sort": seconds},
            "reason": {"text": stage + (trial.reason or "")},
        }
        rows.append(row)
    if not any(trial.reason for trial in trials):
        del columns["reason"]
    return _table(columns, rows)


def _state_of(trial: TrialRecord, on_front: set[int]) -> str:
    if trial.number in on_front:
        return "front"
    return "breaks a limit" if trial.state == "complete" and not trial.feasible else trial.state


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    left = ("trial", "recipe", "state", "reason", "what")
    return {
        "columns": [{"title": title, "number": key not in left} for key, title in columns.items()],
        "rows": [[row[key] for key in columns] for row in rows],
    }


def _figures(run: Run, front: Sequence[TrialRecord]) -> dict[str, go.Figure]:
    table, baseline = run.table(), run.baseline
    if len(table):
        table["recipe"] = [recipe_in_short(trial.recipe) for trial in run.trials()]
    samples = {"baseline": baseline.get("latency", {}).get("samples_ms", [])}
    for trial in front:
        measured = stored_files(trial)["measurement"]
        samples[f"trial {trial.number}"] = measured.get("samples_ms", [])
    return {
        "latency": figures.pareto(table, baseline, x="latency_ms", color="parameters"),
        "parameters": figures.pareto(table, baseline, x="parameters", color="latency_ms"),
        "space": figures.pareto_3d(table, baseline),
        "history": figures.history(table, baseline),
        "samples": figures.latency(samples),
    }


def _details(run: Run, trial: TrialRecord) -> dict[str, Any]:
    target = shlex.quote(f"{run.name}-{trial.number}")
    folder = shlex.quote(str(run.path))
    files = stored_files(trial)
    return {
        "trial": trial.number,
        "title": f"trial {trial.number}: {recipe_in_short(trial.recipe)}",
        "numbers": _card(_last_word(trial.metrics)),
        "export": f"autocompress export {folder} --trial {trial.number} -o {target}",
        "recipe": _settings(trial.recipe),
        "widths": _plain(figures.widths(files["layers"])),
        "curve": _plain(figures.curve(files["curve"])),
    }


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
