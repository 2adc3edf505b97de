"""How fast is the search? Arms side by side: same baseline, same machine, same wall-clock time.

    python -m benchmarks.search --seeds 3 --seconds 240
    python -m benchmarks.search --fasterai-python VENV/bin/python --arms autocompress fasterai

Arms: ``autocompress``; ``plain``, without estimates, early stopping and derived trials; ``gp``
and ``tpe``, with that sampler; ``tpe_plain``, both; ``random``, with random recipes;
``fasterai``, the loop that a user of FasterAI would write with Optuna (``fasterai_loop.py``;
needs ``requirements-search.txt``, best in an environment of its own). Each is a fresh process
with one thread, and what it finishes late does not count; loading and measuring the baseline
counts, training it does not. An arm and seed that has a result is skipped. Numbers:
``search_report.py``.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from autocompress.config import load_study
from autocompress.context import trained
from autocompress.errors import AutocompressError
from autocompress.events import ignore
from autocompress.problem import problem_from, target_from
from autocompress.results import Estimates
from autocompress.runs import Run, layout
from autocompress.runs.records import TrialRecord
from benchmarks.search_report import compared, report, summary

HERE = Path(__file__).parent
STUDY = HERE / "search_fashion.toml"
PLAIN = ("study.estimate=false", "study.early_stopping=false", "study.derive=false")
OWN_ARMS: Mapping[str, tuple[str, ...]] = {
    "autocompress": (),
    "plain": PLAIN,
    "gp": ("study.sampler=gp",),
    "tpe": ("study.sampler=tpe",),
    "tpe_plain": ("study.sampler=tpe", *PLAIN),
    "random": ("study.sampler=random",),
}
ARMS = (*OWN_ARMS, "fasterai")
FORMAT = 2  # of search.json; release 0.1 wrote none, and named stages otherwise
Result = dict[str, Any]


def own_arm(study: Path, sets: Sequence[str], home: Path, seconds: float) -> Result:
    """Run autocompress in a folder until the time is up, and read its trials."""
    command = [sys.executable, "-m", "autocompress.cli", "run", str(study)]
    started = time.time()
    process = _started([*command, *_flags(sets)], home, home)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    code = process.wait()
    folder = home / "runs" / load_study(study, sets).study.name
    if not folder.exists():
        raise RuntimeError(f"exit code {code}: {_log(home)}")
    run = Run.open(folder)
    if not run.baseline or not run.trials():
        raise RuntimeError(f"no trial; exit code {code}: {_log(home)}")
    facts = [_facts(trial, run.baseline, started) for trial in run.trials()]
    ready = min(t.started.timestamp() for t in run.trials() if t.started) - started
    return {
        "baseline": {"accuracy": run.baseline["accuracy"].value},
        "ready_s": ready,
        "trials": [fact for fact in facts if fact is not None],
    }


def _facts(trial: TrialRecord, baseline: Estimates, started: float) -> Result | None:
    """Return what the comparison needs of a trial; ``None`` of one that has not ended."""
    if trial.finished is None:
        return None
    facts = {
        "state": trial.state if trial.parent is None else "derived",
        "reason": trial.reason,
        "finished_s": trial.finished.timestamp() - started,
        "wall_s": trial.duration_s,
        "seconds": dict(trial.seconds),
        "params": dict(trial.params),
    }
    if not trial.feasible:
        return facts

    def ratio(name: str) -> float:
        return trial.metrics[name].value / baseline[name].value

    return facts | {
        "accuracy": trial.metrics["accuracy"].value,
        "latency_ratio": ratio("latency_ms"),
        "parameter_ratio": ratio("parameters"),
    }


def fasterai_arm(
    python: str, study: Path, sets: Sequence[str], home: Path, seconds: float
) -> Result:
    """Run FasterAI's loop, which measures its candidates again once the time is up."""
    output = home.resolve() / "result.json"
    command = [python, "-W", "ignore", "-m", "benchmarks.fasterai_loop", str(study), str(output)]
    timing = ["--seconds", str(seconds), "--started", str(time.time())]
    process = _started([*command, *timing, *_flags(sets)], HERE.parent, home)
    if process.wait() or not output.exists():
        raise RuntimeError(_log(home))
    result: Result = json.loads(output.read_text(encoding="utf-8"))
    return result


def _started(command: Sequence[str], directory: Path, home: Path) -> subprocess.Popen[bytes]:
    with (home / "log.txt").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=log,
            stderr=log,
            process_group=0,
        )


def _flags(sets: Sequence[str]) -> list[str]:
    return [word for item in sets for word in ("--set", item)]


def _log(home: Path) -> str:
    return (home / "log.txt").read_text(encoding="utf-8", errors="replace").strip()[-1500:]


def _version(python: str, package: str) -> str | None:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _stored(file: Path, options: argparse.Namespace) -> Result:
    """Return what is stored, or a new document; refuse to mix times, machines or forms."""
    packages = ("autocompress", "torch", "optuna", "fastai")
    header = {
        "format": FORMAT,
        "seconds": options.seconds,
        "sets": options.sets,
        "device": dict(target_from(load_study(options.study))[0].fingerprint()),
        "versions": {name: importlib.metadata.version(name) for name in packages}
        | {"fasterai": _version(options.fasterai_python, "fasterai")},
    }
    if not file.exists():
        return {**header, "arms": {}}
    stored: Result = json.loads(file.read_text(encoding="utf-8"))
    for key in ("format", "seconds", "sets", "device"):
        if stored.get(key) != header[key]:
            found = stored.get(key, "none")
            raise SystemExit(f"{file} has results with another {key}: {found}; move it away")
    return stored


def main() -> None:
    """Run what has no result yet, arm after arm within each seed, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--fasterai-python", default=sys.executable)
    parser.add_argument("--work", type=Path, default=Path("runs/search_benchmark"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study, file = options.study.resolve(), options.results / "search.json"
    stored = _stored(file, options)
    for seed in range(options.seeds):
        turn = seed % len(options.arms)
        for arm in options.arms[turn:] + options.arms[:turn]:
            if str(seed) in stored["arms"].get(arm, {}):
                continue
            home = options.work.resolve() / f"seed-{seed}"
            sets = _with_baseline(study, options.sets, home / layout.BASELINE, seed)
            shutil.rmtree(home / arm, ignore_errors=True)
            (home / arm).mkdir(parents=True)
            load = os.getloadavg()[0]
            try:
                if arm == "fasterai":
                    python, folder = options.fasterai_python, home / arm
                    result = fasterai_arm(python, study, sets, folder, options.seconds)
                else:
                    sets = [*sets, *OWN_ARMS[arm]]
                    result = own_arm(study, sets, home / arm, options.seconds)
            except (RuntimeError, AutocompressError) as error:
                print(f"{arm}, seed {seed}: {error}", file=sys.stderr)
                continue
            result["load_before"] = load
            result["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            stored["arms"].setdefault(arm, {})[str(seed)] = result
            _write(file, stored)
            print(report(stored), flush=True)


def _with_baseline(study: Path, sets: Sequence[str], home: Path, seed: int) -> list[str]:
    """Train a seed's baseline, once; return the settings that make a study start from it."""
    sets = [*sets, f"study.seed={seed}"]
    config = load_study(study, sets)
    problem = problem_from(config)
    trained(problem.model, problem, home, ignore)
    weights = json.dumps(str(home / layout.WEIGHTS))
    return [*sets, f"model.weights={weights}", "model.epochs=0"]


def _write(file: Path, stored: Result) -> None:
    seconds = stored["seconds"]
    document = {
        **stored,
        "summary": {arm: summary(found, seconds) for arm, found in stored["arms"].items()},
        "compared": compared(stored, seconds),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    file.with_suffix(".md").write_text(report(stored), encoding="utf-8")


if __name__ == "__main__":
    main()
