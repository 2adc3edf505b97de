"""How near is a draft, made before any training, to the candidate that training ends with?

    autocompress run studies/quickstart.toml
    python -m benchmarks.draft runs/quickstart

Draws every complete trial's recipe again from the run's baseline, and measures it as the search
does (half a second, paired with the baseline); the trained candidate is measured in full right
after it, so that both see the same machine. Results: ``benchmarks/results/draft.md``.
"""

import datetime
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BAR = 0.1  # relative error of the drafted latency


def main() -> None:
    """Compare drafts and candidates of a run, and write the table."""
    from autocompress.config import load_study
    from autocompress.recipe import Recipe
    from autocompress.search.drafting import make_draft
    from autocompress.study import Run
    from autocompress.study.last_word import reload_trial
    from autocompress.study.preparation import load_batches, prepare

    run = Run.open(sys.argv[1])
    config = load_study(run.path / "study.toml")
    bench = prepare(config, run.path, load_batches(config), lambda _: None)
    rows = []
    for trial in run.trials():
        if trial.state != "complete" or trial.harvested_from is not None:
            continue
        start = time.perf_counter()
        recipe, example = Recipe.from_dict(trial.recipe), bench.batches.example
        drafted = make_draft(bench.baseline, recipe, example, bench.anatomy, bench.ruler)
        seconds = time.perf_counter() - start
        final = bench.ruler.measure(reload_trial(trial, config.model, bench.batches.splits))
        rows.append(
            {
                "trial": trial.number,
                "exact": drafted.exact,
                "parameters": drafted.parameters / trial.metrics["parameters"],
                "latency": (drafted.latency_ratio or 0.0) / final.ratio,
                "seconds": seconds,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    _write(run.name, run.fingerprint, rows)


def _write(name: str, machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    groups = {
        "exact (local ranking of whole units)": [row for row in rows if row["exact"]],
        "estimates (all others)": [row for row in rows if not row["exact"]],
    }
    heads = ("drafts", "n", "parameters equal", "parameters, draft / final", "latency within 10 %")
    heads += ("latency, draft / final", "seconds, median")
    lines = [
        f"# Drafts beside the trained candidates of {name}",
        "",
        f"{datetime.date.today()}; " + ", ".join(f"{k} {v}" for k, v in machine.items()) + ".",
        "Each drafted latency was measured for 0.5 s, the candidate's right after it in full.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for told, group in groups.items():
        if group:
            lines.append("| " + " | ".join([told, *_cells(group)]) + " |")
    (RESULTS / "draft.md").write_text("\n".join(lines) + "\n")
    document = {"run": name, "machine": machine, "rows": rows}
    (RESULTS / "draft.json").write_text(json.dumps(document, indent=1) + "\n")


def _cells(rows: list[dict[str, Any]]) -> list[str]:
    sizes, times = [row["parameters"] for row in rows], [row["latency"] for row in rows]
    return [
        str(len(rows)),
        str(sum(size == 1 for size in sizes)),
        f"{min(sizes):.3f} to {max(sizes):.3f}",
        f"{sum(abs(ratio - 1) <= BAR for ratio in times)} of {len(rows)}",
        f"{min(times):.3f} to {max(times):.3f}, median {statistics.median(times):.3f}",
        f"{statistics.median(row['seconds'] for row in rows):.2f}",
    ]


if __name__ == "__main__":
    main()
