"""The final evaluation: the front is measured again, and scored on the test split."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from torch import nn

from autocompress.artifacts import write_json
from autocompress.context import Context
from autocompress.errors import (
    AutocompressError,
    DeviceLostError,
    DiskFullError,
    TrialError,
    failing_as,
)
from autocompress.evaluation import Evaluator
from autocompress.events import FinalEvaluation, Message, Progress
from autocompress.graph import Plan, rebuild
from autocompress.metrics import Estimate
from autocompress.metrics.splits import TEST
from autocompress.problem import Problem
from autocompress.results import Estimates
from autocompress.runs import Run, layout
from autocompress.runs.final import Final, FinalStage, FinalTrial
from autocompress.runs.records import TrialRecord
from autocompress.runs.store import intact, load_state, read_plan
from autocompress.targets import Artifact
from autocompress.training.evaluation import evaluate
from autocompress.trial import failed


def reopen(run: Run) -> None:
    """Note that a run goes on. What was measured is kept; what failed will be tried again."""
    if run.final is not None and run.final.complete:
        _write(run, _to_go_on_with(run))


def evaluate_front(run: Run, context: Context, progress: Progress) -> None:
    """Measure every member of the front again, paired with the baseline, and open it on test.

    The user's own metrics are measured again too, by themselves as in the search. A member that
    turns out to break a limit leaves the front. Others that only it had dominated may then enter,
    and are measured too, until all of the front is. What goes wrong with one is noted there, and
    the others go on.

    Writes ``final.json`` into the run's folder after each, so that what is measured is kept.

    Raises:
        AutocompressError: the GPU is unusable for this process; what broke it is noted.
        DiskFullError: nothing can be written any more.
    """
    found = _to_go_on_with(run)
    if not found.baseline and run.front():
        found = replace(found, baseline=_tested_baseline(context, progress))
    while left := [t for t in run.front() if t.number not in found.trials]:
        progress(Message("final evaluation: the front is measured again, and scored on test"))
        for done, trial in enumerate(left, start=1):
            evaluated, error = _evaluation_of(trial, context)
            if isinstance(error, DiskFullError):
                raise error
            found = replace(found, trials={**found.trials, trial.number: evaluated})
            _write(run, found)
            if isinstance(error, DeviceLostError):
                raise AutocompressError(
                    f"the final evaluation of trial {trial.number} broke the GPU for this process "
                    f"({error}); that is noted: resume {run.path} in a new process"
                ) from error
            if error is not None:
                progress(Message(f"final evaluation of trial {trial.number} failed: {error}"))
            progress(FinalEvaluation(done, len(left)))
    ended = replace(found, complete=True)
    if run.final != ended:
        _write(run, ended)


def _to_go_on_with(run: Run) -> Final:
    """Return what is measured already, as a final evaluation that is not complete.

    What failed in an earlier one is tried again; not what failed in one that did not come to its
    end: it may be why.
    """
    found = run.final
    if found is None:
        return Final(complete=False)
    if found.complete:
        kept = {number: trial for number, trial in found.trials.items() if trial.failure is None}
        return replace(found, trials=kept, complete=False)
    return found


def _write(run: Run, found: Final) -> None:
    write_json(run.path / layout.FINAL, found.to_dict())


def _tested_baseline(context: Context, progress: Progress) -> Estimates:
    data, task = context.problem.data, context.problem.task
    try:
        with failing_as("evaluate"):
            return _tested(evaluate(context.baseline, data.test, task))
    except (DeviceLostError, DiskFullError):
        raise
    except TrialError as error:
        progress(Message(f"final evaluation of the baseline failed: {error}"))
        return {}


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


def _evaluation_of(trial: TrialRecord, context: Context) -> tuple[FinalTrial, TrialError | None]:
    """Return what was found out about a member of the front, and what went wrong."""
    metrics: dict[str, Estimate] = {}
    try:
        _measure(trial, context, metrics)
        with failing_as("measure"):
            stages = tuple(_stages(trial, context))
    except TrialError as error:
        failure = failed(trial.recipe, error).failure
        return FinalTrial(metrics=metrics, failure=failure), error
    return FinalTrial(metrics=metrics, stages=stages), None


def _measure(trial: TrialRecord, context: Context, metrics: dict[str, Estimate]) -> None:
    """Measure a member of the front, and add what is found to its metrics.

    Raises:
        TrialError: it cannot be rebuilt, deployed, measured or scored.
    """
    evaluator = context.evaluator
    with failing_as("deploy"):
        model, artifact = deployed_for(trial, context.problem, evaluator)
        session = evaluator.open(artifact)
    try:
        with failing_as("measure"):
            metrics["latency_ms"] = evaluator.latency(session).estimate
            metrics |= evaluator.own_metrics(model, session, artifact)
        with failing_as("evaluate"):
            test = context.problem.data.test
            metrics |= _tested(evaluator.score(model, session, trial.precision, test))
    finally:
        with failing_as("measure"):
            session.close()


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
