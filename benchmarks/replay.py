"""Run the recipes of runs again, and compare what comes out with what they have stored.

    python -m benchmarks.replay RUN... [--trials 3 7] [-o benchmarks/results/replay.md]

Same recipe, same seed, same number of threads: scores, parameters and plans must be equal, also
where an older release of autocompress wrote the run. Start it with as many threads as the run had
(``OMP_NUM_THREADS``): a sum is rounded differently when more threads share it.
"""

import argparse
import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from autocompress.config import load_study
from autocompress.context import Context, prepare
from autocompress.events import ignore
from autocompress.graph import Plan
from autocompress.pipeline import State, compress
from autocompress.problem import problem_from
from autocompress.recipe import Recipe
from autocompress.runs import Run, layout
from autocompress.runs.records import TrialRecord
from autocompress.targets import count_parameters
from autocompress.training.evaluation import evaluate


def prepared(run: Run, folder: Path) -> Context:
    """Open the run's problem on its own baseline, in a folder that nobody else uses."""
    for name in (layout.BASELINE, layout.TEACHER):
        if (run.path / name).exists():
            shutil.copytree(run.path / name, folder / name)
            (folder / name / layout.EVALUATION).unlink(missing_ok=True)
    return prepare(problem_from(load_study(run.path / layout.STUDY)), folder, ignore)


def replayed(recipe: Recipe, context: Context) -> State:
    """Apply a recipe as a trial of the run does."""
    return compress(context.start, recipe, context.work())


def compared(run: Run, numbers: Sequence[int] | None) -> list[str]:
    """Return a table of a run's trials, then and now; derived ones share another's training."""
    score = run.score.name
    lines = [
        f"## `{run.name}`",
        "",
        f"| trial | {score} then | now | parameters then | now | same plan |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        context = prepared(run, Path(folder))
        for trial in run.trials():
            own = trial.state == "complete" and trial.parent is None and trial.precision == "fp32"
            if own and (numbers is None or trial.number in numbers):
                lines.append(_row(trial, context))
                print(lines[-1], flush=True)
    return lines


def _row(trial: TrialRecord, context: Context) -> str:
    assert trial.folder is not None
    problem, made = context.problem, replayed(Recipe.from_dict(trial.recipe), context)
    score = problem.task.score.name
    now = evaluate(made.model, problem.data.valid, problem.task)[score].value
    before, after = int(trial.searched["parameters"].value), count_parameters(made.model)
    plan = Plan.from_json((trial.folder / layout.PLAN).read_text(encoding="utf-8"))
    cells = [
        trial.number,
        f"{trial.searched[score].value:.6f}",
        f"{now:.6f}",
        f"{before:,}",
        f"{after:,}",
        "yes" if plan == made.plan else "NO",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print tables of differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--trials", type=int, nargs="*")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    lines = [
        "# Recipes of finished runs, run again",
        "",
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s)",
    ]
    for path in options.runs:
        lines += ["", *compared(Run.open(path), options.trials)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
