"""Would early stopping have been right? Replays finished runs with it switched on.

    python -m benchmarks.early_stopping RUN...      finished runs, such as runs/quickstart

Trials come in the order of their numbers; only those before one that the replay did not stop are
known to it. What an estimate would have said is imitated: a trial's measured latency times
log-normal noise, and its number of parameters; with a global scope, where estimates are far off,
nothing. The noise is drawn ``DRAWS`` times. A stop is wrong if the trial did in truth enter the
feasible front of all trials up to it. Runs of release 0.1 will do. Results:
``benchmarks/results/early-stopping.*``.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.callbacks.prediction import (
    Completed,
    Decision,
    EarlyStopping,
    Running,
    by_stage,
    decide,
)
from autocompress.config import load_study
from autocompress.metrics.pareto import dominates
from autocompress.problem import problem_from
from autocompress.runs import Run, layout
from autocompress.runs.records import TrialRecord

RESULTS = Path(__file__).parent / "results"
NOISE = 0.05  # standard deviation of the logarithm of estimated / measured latency
DRAWS = 20
BAR = 0.02  # of all stops, that may be wrong
GLOBAL_KNOWN = "size known with a global scope"  # as it would be after surgery
METHOD = (
    "Complete trials of real runs, in order, with early stopping switched on afterwards. "
    f"Estimates are imitated: the measured latency times log-normal noise of {NOISE:.0%} "
    f"({DRAWS} draws, all counted), the true number of parameters with a local scope, nothing "
    "with a global one. "
    "*Wrong* stops hit a trial that entered the feasible front of all trials up to it, *lost* "
    f"ones a trial on the final front. The bar is {BAR:.0%} of stops."
)
ORIGIN = (
    "Runs are those of `autocompress run studies/NAME.toml --set study.seed=SEED`, and, as "
    "`search_fashion`, of the arm `tpe_plain` of `benchmarks.search`, which stops nothing early. "
    "What a run had stopped itself is not replayed. With `OMP_NUM_THREADS=1` training repeats "
    "itself; measured latencies differ between machines, and with them the trials that the "
    "sampler proposes."
)
VARIANTS = {
    "default": EarlyStopping(),
    "confidence 0.95": EarlyStopping(confidence=0.95),
    "confidence 0.99": EarlyStopping(confidence=0.99),
    "12 trials": EarlyStopping(min_trials=12),
    "no latency margin": EarlyStopping(latency_margin=0.0),
    GLOBAL_KNOWN: EarlyStopping(),
}
COLUMNS = ("trials", "epochs", "stopped", "saved", "wrong", "lost", "by_limit")


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A run as it is replayed.

    Attributes:
        run: the run.
        trials: its complete trials that were trained, in order.
        known: for each, whether an estimate of its structure would be exact.
        items: of the validation split.
        lowest_score: the limit on the score.
    """

    run: Run
    trials: Sequence[Completed]
    known: Sequence[bool]
    items: int
    lowest_score: float | None


def main() -> None:
    """Replay the runs named on the command line and write both results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    loaded = [_load(Run.open(path)) for path in options.runs]
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "noise": NOISE,
        "draws": DRAWS,
        "runs": [_described(found) for found in loaded],
        "variants": {},
    }
    for name, settings in VARIANTS.items():
        rows = [_replays(found, settings, all_known=name == GLOBAL_KNOWN) for found in loaded]
        counts: dict[str, Mapping[str, int]] = {}
        for found, row in zip(loaded, rows, strict=True):
            counts[found.run.name] = _sum([counts.get(found.run.name, {}), row])
        counts["all"] = _sum(rows)
        results["variants"][name] = {"settings": asdict(settings), "runs": counts}
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "early-stopping.json"
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(_page(results), encoding="utf-8")
    print(_page(results))


def _sum(rows: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {column: sum(row.get(column, 0) for row in rows) for column in COLUMNS}


def _replays(found: Replayed, settings: EarlyStopping, *, all_known: bool) -> dict[str, int]:
    """Replay a run with every draw of the noise; add up."""
    rows = []
    for draw in range(DRAWS):
        noise = np.exp(np.random.default_rng(draw).normal(0, NOISE, len(found.trials)))
        estimates = [
            {**trial.costs, "latency_ms": trial.costs["latency_ms"] * factor}
            if known or all_known
            else {}
            for trial, factor, known in zip(found.trials, noise, found.known, strict=True)
        ]
        rows.append(replay(found, estimates, settings))
    return _sum(rows)


def replay(
    found: Replayed, estimates: Sequence[Mapping[str, float]], settings: EarlyStopping
) -> Counter[str]:
    """Go through a run's complete trials once; count what ``COLUMNS`` names.

    ``wrong``: stops of trials that entered the front of all up to them; ``lost``: of trials on
    the final front; ``saved``: epochs that were not trained.
    """
    counts: Counter[str] = Counter()
    before: list[Completed] = []
    for index, (trial, estimate) in enumerate(zip(found.trials, estimates, strict=True)):
        counts["trials"] += 1
        counts["epochs"] += (epochs := sum(map(len, trial.curve.values())))
        decision = _first_stop(trial, estimate, before, found, settings)
        if decision is None:
            before.append(trial)
            continue
        counts["stopped"] += 1
        counts["saved"] += epochs - decision.epoch
        counts["wrong"] += enters(trial, found.trials[:index])
        counts["lost"] += enters(trial, found.trials)
        counts["by_limit"] += decision.dominated_by is None
    return counts


def _first_stop(
    trial: Completed,
    estimate: Mapping[str, float],
    before: Sequence[Completed],
    found: Replayed,
    settings: EarlyStopping,
) -> Decision | None:
    points = [(stage, value) for stage, values in trial.curve.items() for value in values]
    planned = {stage: len(values) for stage, values in trial.curve.items()}
    for epoch in range(1, len(points)):
        decision = decide(
            Running(curve=by_stage(points[:epoch]), planned=planned, costs=estimate),
            before,
            items=found.items,
            lowest_score=found.lowest_score,
            settings=settings,
        )
        if decision.stop:
            return decision
    return None


def enters(trial: Completed, others: Sequence[Completed]) -> bool:
    """Return whether a trial is on the feasible front of itself and others."""
    return trial.feasible and not any(
        other.feasible and dominates(_point(other), _point(trial)) for other in others
    )


def _point(trial: Completed) -> list[float]:
    return [-trial.score, *(trial.costs[name] for name in sorted(trial.costs))]


def _load(run: Run) -> Replayed:
    """Return a run as it is replayed.

    Derived trials are left out: they are not trained, so nothing could stop them.
    """
    complete = [t for t in run.trials() if t.state == "complete" and t.parent is None]
    items = run.sizes.get("valid")
    if items is None:  # release 0.1 did not note it
        items = problem_from(load_study(run.path / layout.STUDY)).data.sizes["valid"]
    return Replayed(
        run=run,
        trials=[_finished(trial, run) for trial in complete],
        known=[trial.params.get("scope") != "global" for trial in complete],
        items=items,
        lowest_score=run.limits.bounds(run.baseline).get(run.score.name),
    )


def _finished(trial: TrialRecord, run: Run) -> Completed:
    others = [metric for metric in run.objectives if metric != run.score]
    return Completed(
        number=trial.number,
        curve=by_stage((point.stage, point.score) for point in trial.curve),
        score=trial.searched[run.score.name].value,
        costs={m.name: m.sign * trial.searched[m.name].value for m in others},
        feasible=trial.feasible,
    )


def _described(found: Replayed) -> dict[str, Any]:
    run, trials = found.run, found.trials
    return {
        "name": run.name,
        "source": run.config["data"]["source"],
        "seed": run.config["study"]["seed"],
        "complete_trials": len(trials),
        "on_front": sum(enters(trial, trials) for trial in trials),
        "items": found.items,
        "limits": run.config.get("limits", {}),
        "cpu": run.fingerprint["cpu"],
        "torch": run.fingerprint["torch"],
    }


def _page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    default = results["variants"]["default"]["runs"]
    lines = [
        "# Early stopping, replayed",
        "",
        f"{results['date']}, `python -m benchmarks.early_stopping RUN...`. {METHOD}",
        "",
        ORIGIN,
        "",
        "| run | data | seed | complete trials | on the front | validation items | CPU | torch |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['name']} | {r['source']} | {r['seed']} | {r['complete_trials']} | "
            f"{r['on_front']} | {r['items']} | {r['cpu']} | {r['torch']} |"
            for r in results["runs"]
        ),
        "",
        "## Default settings, by run",
        "",
        *_table(default, "run"),
        "",
        "## Other settings, all runs",
        "",
        *_table({name: v["runs"]["all"] for name, v in results["variants"].items()}, "settings"),
        "",
        f"Draws of the noise repeat the same trials: with the default settings one replay of all "
        f"runs stops {default['all']['stopped'] / DRAWS:.0f} trials, and no share of wrong stops "
        "is surer than that number allows.",
    ]
    return "\n".join(lines) + "\n"


def _table(rows: dict[str, dict[str, int]], first: str) -> list[str]:
    return [
        f"| {first} | trials stopped | epochs saved | wrong stops | lost from the final front |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {row['stopped'] / row['trials']:.1%} | "
            f"{row['saved'] / row['epochs']:.1%} | {_share(row['wrong'], row['stopped'])} | "
            f"{_share(row['lost'], row['stopped'])} |"
            for name, row in rows.items()
        ),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part} of {whole})" if whole else "no stops"


if __name__ == "__main__":
    main()
