"""How near is an estimate, made before any training, to the candidate that training ends with?

    autocompress run studies/quickstart.toml
    python -m benchmarks.estimate runs/quickstart

Estimates every complete trial's structure again from the run's baseline, and measures it as the
search does (half a second, paired with the baseline); the trained candidate is measured in full
right after it, so that both see the same machine. Derived trials are left out: their structure is
that of their parent's training. Runs of release 0.1 will do. Results:
``benchmarks/results/estimate.*``.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress.callbacks.estimate import estimate_structure
from autocompress.context import Context
from autocompress.recipe import Recipe
from autocompress.runs import Run
from autocompress.runs.records import TrialRecord
from autocompress.study.final import deployed_for
from benchmarks.replay import prepared

RESULTS = Path(__file__).parent / "results"
BAR = 0.1  # relative error of the estimated latency


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An estimate beside the trained candidate.

    Attributes:
        trial: its number.
        exact: whether training cannot change the structure.
        parameters: estimated / final.
        latency: estimated / final.
        seconds: that the estimate took.
    """

    trial: int
    exact: bool
    parameters: float
    latency: float
    seconds: float


def main() -> None:
    """Compare estimates and candidates of a run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    run, rows = Run.open(options.run), []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        context = prepared(run, Path(folder))
        for trial in run.trials():
            if trial.state == "complete" and trial.parent is None:
                rows.append(compared(trial, context))
                print(json.dumps(asdict(rows[-1])), flush=True)
    machine = {
        **context.problem.target.fingerprint(),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }
    document = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "run": run.name,
        "machine": machine,
        "rows": [asdict(row) for row in rows],
    }
    options.results.mkdir(exist_ok=True)
    file = options.results / "estimate.json"
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(table(run.name, machine, rows), encoding="utf-8")


def compared(trial: TrialRecord, context: Context) -> Compared:
    """Estimate a trial's structure, and measure what became of it."""
    start, evaluator = time.perf_counter(), context.evaluator
    estimate = estimate_structure(Recipe.from_dict(trial.recipe), context, latency=True)
    seconds = time.perf_counter() - start
    _, artifact = deployed_for(trial, context.problem, evaluator)
    session = evaluator.open(artifact)
    try:
        final = evaluator.latency(session)
    finally:
        session.close()
    known = estimate.metrics
    return Compared(
        trial=trial.number,
        exact=estimate.exact,
        parameters=known["parameters"].value / trial.searched["parameters"].value,
        latency=known["latency_ms"].value / final.latency_ms,
        seconds=seconds,
    )


def table(name: str, machine: Mapping[str, Any], rows: Sequence[Compared]) -> str:
    """Return the results as Markdown."""
    groups = {
        "exact (local ranking of whole units)": [row for row in rows if row.exact],
        "all others": [row for row in rows if not row.exact],
    }
    heads = ("estimates", "n", "parameters equal", "parameters, estimate / final")
    heads += ("latency within 10 %", "latency, estimate / final", "seconds, median")
    lines = [
        f"# Estimates beside the trained candidates of {name}",
        "",
        f"{datetime.datetime.now(datetime.UTC).date()}; "
        + ", ".join(f"{key} {value}" for key, value in machine.items())
        + ". Each estimated latency was measured for 0.5 s, the candidate's right after it in "
        "full.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for title, group in groups.items():
        if group:
            lines.append("| " + " | ".join([title, *_cells(group)]) + " |")
    return "\n".join(lines) + "\n"


def _cells(rows: Sequence[Compared]) -> list[str]:
    sizes, times = [row.parameters for row in rows], [row.latency for row in rows]
    return [
        str(len(rows)),
        str(sum(size == 1 for size in sizes)),
        f"{min(sizes):.3f} to {max(sizes):.3f}",
        f"{sum(abs(ratio - 1) <= BAR for ratio in times)} of {len(rows)}",
        f"{min(times):.3f} to {max(times):.3f}, median {statistics.median(times):.3f}",
        f"{statistics.median(row.seconds for row in rows):.2f}",
    ]


if __name__ == "__main__":
    main()
