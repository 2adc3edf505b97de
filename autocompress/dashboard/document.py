"""What the page shows of a run, as plain documents: texts, tables, columns and figures.

``overview`` is what is seen first; the other documents are asked for when they are looked at.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from autocompress import figures
from autocompress.dashboard.comparison import comparison
from autocompress.dashboard.tables import (
    Table,
    controls_table,
    front_table,
    states_table,
    trial_table,
)
from autocompress.dashboard.tradeoff import Tradeoff, tradeoff
from autocompress.figures.view import View, view_of
from autocompress.metrics.formatting import duration, format_value, short_title
from autocompress.metrics.splits import in_order, split_title
from autocompress.runs import layout
from autocompress.runs.files import TrialFiles

if TYPE_CHECKING:
    from autocompress.runs import Run, Status

Fact = tuple[str, str]  # what, and its value, in words
Figure = dict[str, Any]  # of plotly
_FORMULA = tuple("=+-@")  # what a spreadsheet takes for the start of one


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run is.

    Attributes:
        kind: ``"running"``, ``"finished"``, ``"failed"`` or ``"unfinished"``.
        text: the same in words.
        done: trials that ended.
        wanted: trials in all; ``None``: as many as fit the time.
    """

    kind: str
    text: str
    done: int
    wanted: int | None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What the page shows first of a run.

    Attributes:
        study: its name.
        folder: where it is.
        version: of this package.
        made: when this was read.
        state: how far it is.
        facts: what was asked for and what came of it, in few words each.
        objectives: what models are compared by, in words.
        machine: its fingerprint.
        study_file: the whole of it.
        baseline: what was measured of it.
        tradeoff: the chart, its axes, budgets and picks.
        pareto: the chart as it is drawn first.
        front: table of the front.
        controls: table of the search and what it is compared with.
        states: table of how trials ended.
    """

    study: str
    folder: str
    version: str
    made: str
    state: RunState
    facts: Sequence[str]
    objectives: str
    machine: Sequence[Fact]
    study_file: str
    baseline: Sequence[Fact]
    tradeoff: Tradeoff
    pareto: Figure
    front: Table
    controls: Table
    states: Table


def overview(run: "Run") -> Overview:
    """Return what the page shows first of a run, as it is now."""
    view, status = view_of(run), run.status()
    return Overview(
        study=run.name,
        folder=str(run.path),
        version=metadata.version("autocompress"),
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        state=_state(status),
        facts=_facts(run, status),
        objectives=_in_words([short_title(metric) for metric in view.objectives]),
        machine=[(str(k), str(v)) for k, v in run.fingerprint.items()],
        study_file=(run.path / layout.STUDY).read_text(encoding="utf-8"),
        baseline=_baseline(view),
        tradeoff=tradeoff(view),
        pareto=plain(figures.pareto(view)),
        front=front_table(view),
        controls=controls_table(comparison(run), view.objectives),
        states=states_table(view),
    )


def trials(run: "Run") -> Table:
    """Return the table of all trials."""
    return trial_table(view_of(run))


def space(run: "Run") -> Figure:
    """Return the figure of three metrics in space."""
    return plain(figures.pareto_3d(run))


def study_figures(run: "Run") -> dict[str, Figure]:
    """Return the figures of a run as a whole."""
    view = view_of(run)
    samples = {"baseline": run.baseline_samples_ms}
    for trial in view.front_trials:
        measured = TrialFiles.read(trial.folder).measurement
        samples[f"trial {trial.number}"] = measured.samples_ms
    made = {
        "history": figures.history(view),
        "importance": figures.importance(run),
        "slices": figures.slices(view),
        "parallel": figures.parallel(view),
        "timeline": figures.timeline(view),
        "samples": figures.latency(samples),
    }
    return {name: plain(figure) for name, figure in made.items()}


def as_csv(run: "Run") -> str:
    """Return the table of trials; a text that a spreadsheet would run as a formula is quoted."""
    quoted = run.table().map(lambda v: f"'{v}" if isinstance(v, str) and v[:1] in _FORMULA else v)
    text: str = quoted.to_csv(index=False)
    return text


def plain(made: go.Figure) -> Figure:
    """Return a figure as plain data."""
    found: Figure = made.to_plotly_json()
    return found


def _state(status: "Status") -> RunState:
    counts = status.counts
    done = counts.complete + counts.pruned + counts.failed
    wanted = None if status.wanted is None else max(status.wanted, done)
    progress = f"{done} trials" if wanted is None else f"{done} of {wanted} trials"
    if done and done == counts.failed:
        kind, text = "failed", f"no trial succeeded, {progress}"
    elif status.finished:
        kind, text = "finished", f"finished, {progress}"
    elif status.active:
        left = f", about {duration(status.eta_s)} left" if status.eta_s else ""
        kind, text = "running", f"running, {progress}{left}"
    else:
        kind, text = "unfinished", f"interrupted, {progress}; resume goes on"
    return RunState(kind=kind, text=text, done=done, wanted=wanted)


def _facts(run: "Run", status: "Status") -> list[str]:
    config: Mapping[str, Any] = run.config
    states = ", ".join(f"{n} {name}" for name, n in vars(status.counts).items() if n)
    spent = sum(trial.duration_s or 0.0 for trial in run.trials())
    sources = [config.get("model", {}).get("factory"), config.get("data", {}).get("source")]
    return [
        *([" on ".join(map(str, sources))] if all(sources) else []),
        f"trials: {states or 'none yet'}",
        *([f"{duration(spent)} in trials"] if spent else []),
        *(f"limit: {limit.name.replace('_', ' ')} {limit.bound:g}" for limit in run.limits.limits),
    ]


def _baseline(view: View) -> list[Fact]:
    return [
        (split_title(metric, view.metrics), format_value(metric, view.baseline[metric.name]))
        for metric in in_order(view.metrics)
        if metric.name in view.baseline
    ]


def _in_words(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
