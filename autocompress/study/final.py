"""The final evaluation: the front is measured again, and scored on the test split."""

from contextlib import closing
from typing import Any

from torch import nn

from autocompress.artifacts import read_json, write_json
from autocompress.context import Context
from autocompress.evaluation import Evaluator
from autocompress.events import FinalEvaluation, Message, Progress
from autocompress.graph import Plan, rebuild
from autocompress.metrics.splits import TEST
from autocompress.problem import Problem
from autocompress.results import Estimates
from autocompress.runs import Run, layout
from autocompress.runs.records import TrialRecord
from autocompress.runs.store import intact, load_state, read_plan
from autocompress.targets import Artifact
from autocompress.training.evaluation import evaluate


def evaluate_front(run: Run, context: Context, progress: Progress) -> None:
    """Measure every member of the front again, paired with the baseline, and open it on test.

    A member that turns out to break a limit on latency leaves the front. Others that only it had
    dominated may then enter, and are measured too, until all of the front is.

    Writes ``final.json`` into the run's folder.
    """
    path = run.path / layout.FINAL
    found: dict[str, Any] = read_json(path) if path.exists() else {"baseline": {}, "trials": {}}
    while left := [t for t in run.front() if str(t.number) not in found["trials"]]:
        progress(Message("final evaluation: the front is measured again, and scored on test"))
        if not found["baseline"]:
            data, task = context.problem.data, context.problem.task
            found["baseline"] = _plain(_tested(evaluate(context.baseline, data.test, task)))
        for done, trial in enumerate(left, start=1):
            found["trials"][str(trial.number)] = _evaluation_of(trial, context)
            progress(FinalEvaluation(done, len(left)))
        write_json(path, found)
    if not path.exists():  # the front is empty
        write_json(path, found)


def deployed_for(
    trial: TrialRecord, problem: Problem, evaluator: Evaluator
) -> tuple[nn.Module, Artifact]:
    """Return what was measured of a trial: its network, and that at its precision.

    Args:
        trial: complete.
        problem: what the study is about.
        evaluator: of the study.

    Raises:
        RunError: it has no model, or the files were changed.
    """
    folder = intact(trial.folder, trial.sha256, f"trial {trial.number}")
    model = load_state(folder, problem.model.structure()).model
    model.to(problem.data.device)
    kept = folder / layout.ARTIFACT
    if trial.precision != "fp32" and kept.exists():
        content = kept.read_bytes()
        artifact = Artifact(
            content=content, format="onnx", precision=trial.precision, size_bytes=len(content)
        )
        return model, artifact
    return model, evaluator.prepare(model, trial.precision)


def _evaluation_of(trial: TrialRecord, context: Context) -> dict[str, Any]:
    evaluator = context.evaluator
    model, artifact = deployed_for(trial, context.problem, evaluator)
    with closing(evaluator.open(artifact)) as session:
        latency = evaluator.latency(session)
        test = context.problem.data.test
        scores = evaluator.score(model, session, trial.precision, test)
    metrics = {"latency_ms": latency.estimate, **_tested(scores)}
    return {"metrics": _plain(metrics), "stages": _stages(trial, context)}


def _stages(trial: TrialRecord, context: Context) -> list[dict[str, Any]]:
    """Return what each stage led to, as the trial noted it, with the latency after it.

    Speed is that of the structure that the plan has after the stage, measured in a quarter of
    the usual time; the last stage has what the trial measured.
    """
    if trial.folder is None or not trial.stages:
        return []
    plan, searched, precision = read_plan(trial.folder), trial.searched, trial.precision
    rows: list[dict[str, Any]] = []
    measured = {0: context.baseline_metrics["latency_ms"].value}  # by how many steps were taken
    for result in trial.stages if precision != "fp32" else trial.stages[:-1]:
        if result.steps not in measured:
            measured[result.steps] = _latency_after(Plan(plan.steps[: result.steps]), context)
        row = {"stage": result.stage, "score": result.score, "parameters": result.parameters}
        rows.append({**row, "latency_ms": measured[result.steps]})
    end = {
        "stage": trial.stages[-1].stage if precision == "fp32" else precision,
        "score": searched[context.problem.task.score.name].value,
        "parameters": int(searched["parameters"].value),
        "latency_ms": searched["latency_ms"].value,
    }
    return [*rows, end]


def _latency_after(plan: Plan, context: Context) -> float:
    evaluator = context.evaluator
    model = context.problem.model.structure()
    rebuild(model, plan)
    model.to(context.problem.data.device).eval()
    with closing(evaluator.open(evaluator.prepare(model))) as session:
        return evaluator.latency(session, budget_s=evaluator.effort.budget_s / 4).latency_ms


def _tested(scores: Estimates) -> Estimates:
    return {f"{TEST}{name}": value for name, value in scores.items()}


def _plain(metrics: Estimates) -> dict[str, Any]:
    return {name: value.to_dict() for name, value in metrics.items()}
