"""Would early stopping have been right? Replays finished runs with it switched on.

    python -m benchmarks.early_stopping RUN...      finished runs, such as runs/quickstart

Trials come in the order of their numbers; only those before one that the replay did not stop are
known to it. What a draft would have told is imitated: a trial's measured latency times log-normal
noise, and its number of parameters; with a global scope, where drafts are far off, nothing. The
noise is drawn ``DRAWS`` times. A stop is wrong if the trial did in truth enter the feasible front
of all trials up to it. Results: ``benchmarks/results/``.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.config import load_study
from autocompress.search.early_stopping import (
    EarlyStopping,
    Finished,
    Running,
    Verdict,
    by_stage,
    judge,
)
from autocompress.study.preparation import load_batches
from autocompress.study.records import STUDY_FILE, Run
from autocompress.study.trials import TrialRecord

RESULTS = Path(__file__).parent / "results"
NOISE = 0.05  # standard deviation of the logarithm of drafted / measured latency
DRAWS = 20
BAR = 0.02  # of all stops, that may be wrong
GLOBAL_KNOWN = "size known with a global scope"  # as it would be after surgery
METHOD = (
    "Complete trials of real runs, in order, with early stopping switched on afterwards. Drafts "
    f"are imitated: the measured latency times log-normal noise of {NOISE:.0%} ({DRAWS} draws, "
    "all counted), the true number of parameters with a local scope, nothing with a global one. "
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


def main() -> None:
    """Replay the runs named on the command line and write both results."""
    runs = [Run.open(path) for path in sys.argv[1:]]
    loaded = [(run, *_load(run)) for run in runs]
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "noise": NOISE,
        "draws": DRAWS,
        "runs": [_described(run, trials, images) for run, trials, images, _ in loaded],
        "variants": {},
    }
    for name, settings in VARIANTS.items():
        counts = {
            run.name: _replays(
                trials, exact | (name == GLOBAL_KNOWN), images, _lowest(run), settings
            )
            for run, trials, images, exact in loaded
        }
        counts["all"] = {c: sum(row[c] for row in counts.values()) for c in COLUMNS}
        results["variants"][name] = {"settings": vars(settings), "runs": counts}
    (RESULTS / "early-stopping.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "early-stopping.md").write_text(_page(results))
    print(_page(results))


def _replays(
    trials: Sequence[Finished],
    exact: np.ndarray,
    images: int,
    lowest_accuracy: float | None,
    settings: EarlyStopping,
) -> dict[str, int]:
    """Replay a run with every draw of the noise; add up."""
    total: Counter[str] = Counter()
    for draw in range(DRAWS):
        noise = np.exp(np.random.default_rng(draw).normal(0, NOISE, len(trials)))
        drafts = [
            (trial.latency_ms * factor, trial.parameters) if known else (None, None)
            for trial, factor, known in zip(trials, noise, exact, strict=True)
        ]
        total += replay(trials, drafts, images, lowest_accuracy, settings)
    return {column: total[column] for column in COLUMNS}


def replay(
    trials: Sequence[Finished],
    drafts: Sequence[tuple[float | None, int | None]],
    images: int,
    lowest_accuracy: float | None,
    settings: EarlyStopping,
) -> Counter[str]:
    """Go through a run's complete trials once; count what ``COLUMNS`` names.

    ``wrong``: stops of trials that entered the front of all up to them; ``lost``: of trials on
    the final front; ``saved``: epochs that were not trained.
    """
    counts: Counter[str] = Counter()
    known: list[Finished] = []
    for index, (trial, draft) in enumerate(zip(trials, drafts, strict=True)):
        counts["trials"] += 1
        counts["epochs"] += (epochs := sum(map(len, trial.curve.values())))
        verdict = _first_stop(trial, draft, known, images, lowest_accuracy, settings)
        if verdict is None:
            known.append(trial)
            continue
        counts["stopped"] += 1
        counts["saved"] += epochs - verdict.epoch
        counts["wrong"] += enters(trial, trials[:index])
        counts["lost"] += enters(trial, trials)
        counts["by_limit"] += verdict.dominated_by is None
    return counts


def _first_stop(
    trial: Finished,
    draft: tuple[float | None, int | None],
    known: Sequence[Finished],
    images: int,
    lowest_accuracy: float | None,
    settings: EarlyStopping,
) -> Verdict | None:
    points = [(stage, value) for stage, values in trial.curve.items() for value in values]
    planned = {stage: len(values) for stage, values in trial.curve.items()}
    for epoch in range(1, len(points)):
        running = Running(
            curve=by_stage(points[:epoch]),
            planned=planned,
            latency_ms=draft[0],
            parameters=draft[1],
        )
        verdict = judge(
            running, known, images=images, lowest_accuracy=lowest_accuracy, settings=settings
        )
        if verdict.stop:
            return verdict
    return None


def enters(trial: Finished, others: Sequence[Finished]) -> bool:
    """Return whether a trial is on the feasible front of itself and others."""

    def at_least_as_good(other: Finished) -> bool:
        return (
            other.feasible
            and other.accuracy >= trial.accuracy
            and other.latency_ms <= trial.latency_ms
            and other.parameters <= trial.parameters
        )

    def equal(other: Finished) -> bool:
        mine = (trial.accuracy, trial.latency_ms, trial.parameters)
        return (other.accuracy, other.latency_ms, other.parameters) == mine

    return trial.feasible and not any(at_least_as_good(o) and not equal(o) for o in others)


def _load(run: Run) -> tuple[list[Finished], int, np.ndarray]:
    """Return a run's complete trials, its validation images, and whose drafts would be exact.

    Harvested trials are left out: they are not trained, so nothing could stop them.
    """
    complete = [t for t in run.trials() if t.state == "complete" and t.harvested_from is None]
    images = len(load_batches(load_study(run.path / STUDY_FILE)).splits.valid)
    exact = np.array([trial.params.get("scope") != "global" for trial in complete])
    return [_finished(trial) for trial in complete], images, exact


def _finished(trial: TrialRecord) -> Finished:
    assert trial.folder is not None
    curve = json.loads((trial.folder / "curve.json").read_text())
    accuracy, latency_ms, parameters = trial.searched
    return Finished(
        number=trial.number,
        curve=by_stage((point["stage"], point["accuracy"]) for point in curve),
        accuracy=accuracy,
        latency_ms=latency_ms,
        parameters=int(parameters),
        feasible=trial.feasible,
    )


def _lowest(run: Run) -> float | None:
    drop = run.config.get("limits", {}).get("accuracy_drop")
    return None if drop is None else float(run.baseline["accuracy"]) - float(drop)


def _described(run: Run, trials: Sequence[Finished], images: int) -> dict[str, Any]:
    return {
        "name": run.name,
        "source": run.config["data"]["source"],
        "seed": run.config["study"]["seed"],
        "complete_trials": len(trials),
        "on_front": sum(enters(trial, trials) for trial in trials),
        "images": images,
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
        "| run | data | seed | complete trials | on the front | validation images | CPU | torch |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['name']} | {r['source']} | {r['seed']} | {r['complete_trials']} | "
            f"{r['on_front']} | {r['images']} | {r['cpu']} | {r['torch']} |"
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
