"""Does a process grow? Memory of one that searches and runs trial after trial of the quickstart.

    python -m benchmarks.memory --trials 200
    python -m benchmarks.memory --trials 6 --early 2 --set training.epochs=1

After each trial: the process's resident memory, the ``nn.Module`` objects that are alive, and the
hooks on them. The last trial is compared with an early one, when everything is loaded. Results:
``results/memory.*``.
"""

import argparse
import gc
import importlib.metadata
import json
import platform
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from autocompress.config import load_study
from autocompress.events import Event, TrialDone
from autocompress.execution.inline import InlineExecutor
from autocompress.study.budget import Amount
from autocompress.study.run import run_study

HERE = Path(__file__).parent
STUDY = HERE.parent / "studies" / "quickstart.toml"
BAR = 1.10  # of the early trial's memory


def census() -> dict[str, int]:
    """Return resident bytes, living modules and the hooks on them."""
    gc.collect()
    with warnings.catch_warnings():  # looking at every object wakes deprecated ones
        warnings.simplefilter("ignore")
        modules = [thing for thing in gc.get_objects() if isinstance(thing, nn.Module)]
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "resident_bytes": psutil.Process().memory_info().rss,
        "modules": len(modules),
        "hooks": sum(len(vars(module).get(kind, ())) for module in modules for kind in hooks),
    }


class Census:
    """Counts after each trial that was not derived from another."""

    def __init__(self) -> None:
        self.found: list[dict[str, int]] = []

    def __call__(self, event: Event) -> None:
        """Receive an event of the search."""
        if isinstance(event, TrialDone) and event.parent is None:
            self.found.append({"trial": event.done, **census()})
            if event.done % 10 == 0 or event.done == event.total:
                print(json.dumps(self.found[-1]), flush=True)


def report(document: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    early, last = document["early"], document["last"]
    rows = [
        f"| {entry['trial']} | {entry['resident_bytes'] / 2**20:.1f} | {entry['modules']} "
        f"| {entry['hooks']} |"
        for entry in (document["trials"][0], early, last)
    ]
    met = "within" if document["ratio"] <= BAR else "over"
    return "\n".join(
        [
            "# Memory of one process over many trials",
            "",
            f"{document['cpu']}, {document['system']}; Python {document['python']}, torch "
            f"{document['torch']}; {document['study']}"
            + "".join(f", {setting}" for setting in document["sets"])
            + f"; n = {len(document['trials'])} trials ({document['states']}), one process, "
            "one thread.",
            "",
            "| after trial | resident MiB | living modules | hooks on them |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Trial {last['trial']} / trial {early['trial']}: {document['ratio']:.3f}, {met} the "
            f"bar of {BAR:.2f}.",
            "",
        ]
    )


def main() -> None:
    """Run the trials and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--early", type=int, default=20, help="the trial to compare with")
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if not 1 <= options.early <= options.trials:
        raise SystemExit(f"--early: expected 1 to {options.trials}, not {options.early}")
    torch.set_num_threads(1)
    config = load_study(options.study, options.sets)
    with tempfile.TemporaryDirectory() as directory:
        follow = Census()
        run = run_study(
            config,
            directory=Path(directory),
            amount=Amount(trials=options.trials),
            executor=InlineExecutor(),
            progress=follow,
        )
        counts, facts = asdict(run.status().counts), run.fingerprint
    trials = follow.found
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    early, last = trials[options.early - 1], trials[-1]
    document = {
        "cpu": facts["cpu"],
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": importlib.metadata.version("optuna"),
        "study": config.study.name,
        "sets": options.sets,
        "states": states,
        "early": early,
        "last": last,
        "ratio": last["resident_bytes"] / early["resident_bytes"],
        "trials": trials,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "memory.json"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    file.with_suffix(".md").write_text(report(document), encoding="utf-8")
    print(report(document))


if __name__ == "__main__":
    main()
