"""Run the recipes of a run again, and compare what comes out with what the run has stored.

    python benchmarks/replay.py RUN [--trials 3 7] [-o benchmarks/results/replay.md]

Same recipe, same seed, same number of threads: scores, parameters and plans must be equal, also
where an older release of autocompress wrote the run. Start it with as many threads as the run had
(``OMP_NUM_THREADS``): a sum is rounded differently when more threads share it.
"""

import argparse
import platform
import shutil
import tempfile
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


def main() -> None:
    """Print a table of differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--trials", type=int, nargs="*")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    run = Run.open(options.run)
    score = run.score.name
    lines = [
        f"# Recipes of `{run.name}` run again",
        "",
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s)",
        "",
        f"| trial | {score} then | now | parameters then | now | same plan |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        context = prepared(run, Path(folder))
        valid, task = context.problem.data.valid, context.problem.task
        for trial in run.trials():
            wanted = options.trials is None or trial.number in options.trials
            own = trial.state == "complete" and trial.parent is None
            if not (wanted and own and trial.precision == "fp32" and trial.folder is not None):
                continue
            made = replayed(Recipe.from_dict(trial.recipe), context)
            now = evaluate(made.model, valid, task)[score].value
            parameters = sum(tensor.numel() for tensor in made.model.parameters())
            then = trial.searched[score].value
            plan = Plan.from_json((trial.folder / layout.PLAN).read_text(encoding="utf-8"))
            same = "yes" if plan == made.plan else "NO"
            before = int(trial.searched["parameters"].value)
            lines.append(
                f"| {trial.number} | {then:.6f} | {now:.6f} | {before:,} | {parameters:,} | {same} |"
            )
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
