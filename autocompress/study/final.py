"""The final evaluation: the front is measured again, and scored on the test split."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from torch import nn

from autocompress.artifacts import write_json
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
from autocompress.runs.stored import Final, FinalStage, FinalTrial
from autocompress.targets import Artifact
from autocompress.training.evaluation import evaluate


def evaluate_front(run: Run, context: Context, progress: Progress) -> None:
    """Measure every member of the front again, paired with the baseline, and open it on test.

    A member that turns out to break a limit on latency leaves the front. Others that only it had
    dominated may then enter, and are measured too, until all of the front is.

    Writes ``final.json`` into the run's folder.
    """
    path = run.path / layout.FINAL
    found = run.final or Final()
    while left := [t for t in run.front() if t.number not in found.trials]:
        progress(Message("final evaluation: the front is measured again, and scored on test"))
        if not found.baseline:
            data, task = context.problem.data, context.problem.task
            tested = _tested(evaluate(context.baseline, data.test, task))
            found = replace(found, baseline=tested)
        for done, trial in enumerate(left, start=1):
            evaluated = {trial.number: _evaluation_of(trial, context)}
            found = replace(found, trials={**found.trials, **evaluated})
            progress(FinalEvaluation(done, len(left)))
        write_json(path, found.to_dict())
    if not path.exists():  # the front is empty
        write_json(path, found.to_dict())


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


def _evaluation_of(trial: TrialRecord, context: Context) -> FinalTrial:
    evaluator = context.evaluator
    model, artifact = deployed_for(trial, context.problem, evaluator)
    with closing(evaluator.open(artifact)) as session:
        latency = evaluator.latency(session)
        test = context.problem.data.test
        scores = evaluator.score(model, session, trial.precision, test)
    metrics = {"latency_ms": latency.estimate, **_tested(scores)}
    return FinalTrial(metrics=metrics, stages=tuple(_stages(trial, context)))


def _stages(trial: TrialRecord, context: Context) -> Iterator[FinalStage]:
    """Yield what each stage led to, as the trial noted it, with the latency after it.

    Speed is that of the structure that the plan has after the stage, measured in a quarter of
    the usual time; the last stage has what the trial measured.
    """
    if trial.folder is None or not trial.stages:
        return
    plan = read_plan(trial.folder)
    measured = {0: context.baseline_metrics["latency_ms"].value}  # by how many steps were taken
    lowered = trial.precision != "fp32"
    for result in trial.stages if lowered else trial.stages[:-1]:
        if result.steps not in measured:
            measured[result.steps] = _latency_after(Plan(plan.steps[: result.steps]), context)
        yield FinalStage(
            stage=result.stage,
            score=result.score,
            parameters=result.parameters,
            latency_ms=measured[result.steps],
        )
    searched = trial.searched
    yield FinalStage(
        stage=trial.precision if lowered else trial.stages[-1].stage,
        score=searched[context.problem.task.score.name].value,
        parameters=int(searched["parameters"].value),
        latency_ms=searched["latency_ms"].value,
    )


def _latency_after(plan: Plan, context: Context) -> float:
    evaluator = context.evaluator
    model = context.problem.model.structure()
    rebuild(model, plan)
    model.to(context.problem.data.device).eval()
    with closing(evaluator.open(evaluator.prepare(model))) as session:
        return evaluator.latency(session, budget_s=evaluator.effort.budget_s / 4).latency_ms


def _tested(scores: Estimates) -> Estimates:
    return {f"{TEST}{name}": value for name, value in scores.items()}
