"""Trials of a run measured again, on this machine."""

import datetime
import os
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from autocompress.artifacts import write_json
from autocompress.config import load_study
from autocompress.context import evaluator_of, trained
from autocompress.errors import RunError, UsageError
from autocompress.events import Message, Progress
from autocompress.metrics import Estimate
from autocompress.problem import problem_from
from autocompress.results import Fingerprint
from autocompress.runs import Run, layout
from autocompress.runs.opening import require_trusted
from autocompress.runs.records import TrialRecord
from autocompress.runs.wholeness import refuse_damages
from autocompress.study.final import deployed_for
from autocompress.targets import Latency, LatencyBenchmark, differences

FILE = "remeasured.json"


@dataclass(frozen=True, kw_only=True)
class Remeasured:
    """One model, measured again.

    Attributes:
        trial: its number; ``None`` is the baseline.
        stored: latency as the run knows it.
        latency_ms: as it is now.
        ratio: to the baseline, now; 1 for the baseline itself.
        p10_ms: 10th percentile of a call.
        p50_ms: median.
        p90_ms: 90th percentile.
        n: calls.
        contention: fraction of time that other processes took.
        statistic: of the blocks.
    """

    trial: int | None
    stored: Estimate
    latency_ms: Estimate
    ratio: Estimate
    p10_ms: float
    p50_ms: float
    p90_ms: float
    n: int
    contention: float
    statistic: str


@dataclass(frozen=True, kw_only=True)
class Remeasurement:
    """What ``bench`` found.

    Attributes:
        study: name of the run.
        created: when, in ISO 8601.
        fingerprint: hardware and software, now.
        differences: from those of the run.
        baseline: measured again.
        trials: measured again, paired with the baseline.
    """

    study: str
    created: str
    fingerprint: Fingerprint
    differences: Sequence[str]
    baseline: Remeasured
    trials: Sequence[Remeasured]


def remeasure(
    run: Run, numbers: Sequence[int], progress: Progress, *, allow: Collection[str] = ()
) -> Remeasurement:
    """Measure trials again, paired with the baseline, on the study's target.

    Other hardware or software than the run's is no error: ``differences`` names it. Writes
    ``remeasured.json`` into the run's folder and changes nothing else there.

    Args:
        run: a run whose baseline is trained.
        numbers: of complete trials; empty for the front.
        progress: receives what happens.
        allow: packages or modules whose functions the study may name.

    Raises:
        UntrustedError: the study names functions that this user has neither run nor allowed.
        UsageError: there is no such trial, or nothing on the front.
        RunError: a trial has no model, or the run is damaged or has no baseline yet.
        ConfigurationError: the target cannot be used here.
    """
    if not run.baseline:
        raise RunError(f"{run.path} has no measured baseline yet; resume it first")
    trials = _wanted(run, numbers)
    if not os.access(run.path, os.W_OK):
        raise RunError(
            f"{run.path} cannot be written, and what is measured is kept in it; copy the run to "
            "another folder"
        )
    refuse_damages(run.path, run.damages(), of=layout.BASELINE)
    require_trusted(run.path, run.config, allow)
    problem = problem_from(load_study(run.path / layout.STUDY))
    problem.target.check()
    now = problem.target.fingerprint()
    baseline = trained(problem.model, problem, run.path / layout.BASELINE, progress)
    progress(Message(f"measuring the baseline and {len(trials)} trials"))
    evaluator = evaluator_of(problem)
    found = []
    with closing(evaluator.open(evaluator.prepare(baseline))) as opened:
        reference = evaluator.latency(opened)
        benchmark = LatencyBenchmark(
            problem.target, opened, problem.effort, reference_ms=reference.latency_ms
        )
        evaluator = replace(evaluator, benchmark=benchmark)
        for trial in trials:
            _, artifact = deployed_for(trial, problem, evaluator)
            with closing(evaluator.open(artifact)) as session:
                latency = evaluator.latency(session)
            found.append(_numbers(trial.number, trial.metrics["latency_ms"], latency))
            progress(Message(f"trial {trial.number}: {latency.ratio:.3f} of the baseline"))
    result = Remeasurement(
        study=run.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        fingerprint=dict(now),
        differences=list(differences(run.fingerprint, now)),
        baseline=_numbers(None, run.baseline["latency_ms"], reference),
        trials=found,
    )
    write_json(run.path / FILE, asdict(result))
    return result


def _wanted(run: Run, numbers: Sequence[int]) -> list[TrialRecord]:
    """Return the trials that were asked for, all with models."""
    if not numbers:
        front = run.front()
        if not front:
            raise UsageError(f"{run.path} has no finished, feasible trial; name trials to measure")
        return list(front)
    trials = [run.trial(number) for number in dict.fromkeys(numbers)]
    without = [f"{trial.number} ({trial.state})" for trial in trials if trial.folder is None]
    if without:
        raise RunError(f"{run.path}: only complete trials have models, not {', '.join(without)}")
    return trials


def _numbers(trial: int | None, stored: Estimate, latency: Latency) -> Remeasured:
    return Remeasured(
        trial=trial,
        stored=stored,
        latency_ms=latency.estimate,
        ratio=Estimate(
            value=latency.ratio, low=latency.ratio_low, high=latency.ratio_high, flag=latency.flag
        ),
        p10_ms=latency.p10_ms,
        p50_ms=latency.p50_ms,
        p90_ms=latency.p90_ms,
        n=latency.n,
        contention=latency.contention,
        statistic=latency.statistic,
    )
