"""Run a study, resume it, check it: from a study file, or from Python objects."""

import datetime
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from autocompress.artifacts import remove_leftovers, write_bytes, write_folder
from autocompress.config import StudyConfig, load_study, to_toml
from autocompress.context import prepare
from autocompress.documents import read_document
from autocompress.errors import DiskFullError, RunError
from autocompress.events import Finished, Progress, Started, ignore
from autocompress.execution import Executor
from autocompress.execution.pool import LocalPool
from autocompress.metrics.splits import on_test
from autocompress.problem import Problem, digests, problem_from
from autocompress.runs import Run, layout
from autocompress.runs.header import Header, HeaderDocument
from autocompress.runs.journal import Journal, Session, now
from autocompress.runs.lock import is_being_run, only_writer
from autocompress.runs.opening import OLD_FORMAT, format_of
from autocompress.study.budget import Amount, Budget
from autocompress.study.check import check_problem
from autocompress.study.final import evaluate_front, reopen
from autocompress.study.loop import SearchLoop
from autocompress.study.session import RECIPES, asked, nearest_recipes, proposer_of
from autocompress.study.signals import interrupted_by_signals
from autocompress.targets import differences, within_usable_cores
from autocompress.trust import require_trust, trust


def run_study(
    study: StudyConfig | str | Path,
    *,
    directory: Path = Path("runs"),
    amount: Amount | None = None,
    recipes: Sequence[Mapping[str, Any]] | None = None,
    executor: Executor | None = None,
    progress: Progress = ignore,
) -> Run:
    """Run a study from the start.

    Args:
        study: the study, or the file where it stands.
        directory: where the run's folder, named like the study, is made.
        amount: trials, time and processes, instead of the study's.
        recipes: search parameters of recipes to begin with, instead of those that every study
            begins with; numbers are moved to the nearest that the space allows.
        executor: runs the trials; by default a pool of processes on this machine.
        progress: receives what happens.

    Returns:
        the finished run.

    Raises:
        RunError: there is a run of this name already.
        ConfigurationError: data or model do not exist or do not fit, or this machine cannot
            measure as the study wants.
    """
    config = study if isinstance(study, StudyConfig) else load_study(study)
    _refuse_existing(directory / config.study.name)
    return begin(
        problem_from(config),
        directory=directory,
        amount=amount or Amount(),
        recipes=recipes,
        executor=executor,
        progress=progress,
    )


def begin(
    problem: Problem,
    *,
    directory: Path,
    amount: Amount,
    recipes: Sequence[Mapping[str, Any]] | None,
    executor: Executor | None,
    progress: Progress,
) -> Run:
    """Run a problem from the start, as ``run_study`` does."""
    config = problem.config
    folder = directory / config.study.name
    _refuse_existing(folder)
    check_problem(problem)
    header = {
        **_header(problem).to_dict(),
        "digests": digests(problem),
        "versions": _versions(),
        RECIPES: nearest_recipes(config.space(), recipes),
    }
    contents = {layout.STUDY: to_toml(config).encode(), layout.HEADER: header}
    # Only now, so that what fails before leaves nothing.
    write_folder(folder, contents, replace=_has_nothing(folder))
    trust(config.to_dict())
    with only_writer(folder):
        return _search(problem, folder, amount, executor, progress)


def resume_run(
    path: str | Path,
    *,
    amount: Amount | None = None,
    executor: Executor | None = None,
    progress: Progress = ignore,
    allow: Collection[str] = (),
) -> Run:
    """Go on with an interrupted or finished run, until it has the wanted number of trials.

    Trials that were interrupted come first, with the same recipe.

    Args:
        path: the run's folder.
        amount: trials in all, time and processes, instead of what the last session was asked
            for, or else the study's.
        executor: as for ``run_study``.
        progress: receives what happens.
        allow: packages or modules whose functions the study may name.

    Raises:
        UntrustedError: the study names functions that this user has neither run nor allowed.
        RunError: the folder is not a run, or its space, objectives, data, model or hardware
            changed since the run began, or release 0.1 wrote it.
    """
    old = Run.open(path)
    _refuse_old_format(old.path)
    require_trust(old.config, str(old.path), allow)
    problem = problem_from(load_study(old.path / layout.STUDY))
    return go_on(problem, old, amount=amount or Amount(), executor=executor, progress=progress)


def go_on(
    problem: Problem, old: Run, *, amount: Amount, executor: Executor | None, progress: Progress
) -> Run:
    """Go on with a run of a problem, as ``resume_run`` does.

    What may change, such as limits, is written into its study file first: every process of the
    run, and all who read it, go by that.
    """
    _refuse_old_format(old.path)
    _refuse_changes(old, problem)
    problem.target.check()
    with only_writer(old.path):
        path = old.path / layout.STUDY
        if load_study(path).to_dict() != problem.config.to_dict():
            write_bytes(path, to_toml(problem.config).encode())
        return _search(problem, old.path, amount, executor, progress)


def _refuse_existing(folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()) or _has_nothing(folder):
        return
    other = "give this run another name (--set study.name=NAME, in Python name='NAME')"
    if not (folder / layout.HEADER).exists():
        raise RunError(f"{folder} exists and is not a run: move it away, or {other}")
    raise RunError(
        f"{folder} exists; go on with it (autocompress resume {folder}, in Python resume=True), "
        f"or {other}"
    )


def _has_nothing(folder: Path) -> bool:
    """Return whether a run ended before it had a baseline, so that nothing is lost with it."""
    is_run = (folder / layout.HEADER).exists() and not is_being_run(folder)
    return is_run and not (folder / layout.BASELINE).exists() and not Run.open(folder).trials()


def _refuse_old_format(folder: Path) -> None:
    if format_of(folder) == OLD_FORMAT:
        raise RunError(
            f"{folder} was written by autocompress 0.1, which kept its trials in another way: it "
            "can be read, reported and exported, but not gone on with; start a new run from its "
            f"{layout.STUDY}"
        )


def _header(problem: Problem) -> Header:
    scores = [score.metric for score in problem.task.scores]
    metrics = (*problem.metrics, *map(on_test, scores))
    return Header(
        name=problem.config.study.name,
        created=datetime.datetime.now(datetime.UTC),
        objectives=problem.objectives,
        score=problem.task.score,
        metrics={metric.name: metric for metric in metrics},
        task=problem.task.name,
        sizes=problem.data.sizes,
        fingerprint=problem.target.fingerprint(),
    )


def _versions() -> dict[str, str]:
    names = ("autocompress", "torch", "optuna")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }


def _refuse_changes(old: Run, problem: Problem) -> None:
    header = read_document(HeaderDocument, old.path / layout.HEADER)
    found = digests(problem)
    changed = [name for name, digest in header.digests.items() if found.get(name) != digest]
    if changed:
        raise RunError(
            f"{old.path}: {', '.join(changed)} changed since this run began, so that old and new "
            f"trials could not be compared; undo the change in {layout.STUDY} or the data, or "
            "start a new run"
        )
    moved = differences(old.fingerprint, problem.target.fingerprint())
    if moved:
        raise RunError(
            f"{old.path}: its latencies were measured on other hardware or software "
            f"({'; '.join(moved)}); start a new run here"
        )


def _search(
    problem: Problem,
    folder: Path,
    amount: Amount,
    executor: Executor | None,
    progress: Progress,
) -> Run:
    config, run = problem.config, Run.open(folder)
    with _explained(folder), within_usable_cores(), interrupted_by_signals():
        remove_leftovers(folder)
        journal = Journal(folder / layout.JOURNAL)
        trials, timeout_s = asked(config, amount, folder)
        session = Session(
            time=now(), trials=trials, asked=amount.trials is not None, timeout_s=timeout_s
        )
        journal.append(session)
        done = sum(trial.counts for trial in run.trials())
        progress(Started(config.study.name, str(folder), trials, done, problem.objectives))
        with closing(prepare(problem, folder, progress)) as context:
            budget = Budget(trials, timeout_s, amount.workers, done)
            if budget.trials > done:
                reopen(run)
                proposer = proposer_of(context, run)
                with closing(executor or LocalPool(amount.workers)) as runner:
                    runner.start(folder, context)
                    SearchLoop(context, proposer, runner, journal, budget, progress).search()
            finished = Run.open(folder)
            evaluate_front(finished, context, progress)
        progress(Finished(str(folder), finished.front_document()))
        return finished


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn a disk that is full into a message with a way out.

    Raises:
        RunError: a file of the run could not be written.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise  # of a target or data elsewhere
    except (OSError, DiskFullError) as error:
        raise RunError(
            f"{folder} could not be written ({error}); nothing that was finished is lost: make "
            f"room, then go on (autocompress resume {folder}, in Python resume=True)"
        ) from error
