"""Run a study, resume it, check it: from a study file, or from Python objects."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from autocompress.artifacts import (
    digest_of_file,
    remove_leftovers,
    write_bytes,
    write_folder,
)
from autocompress.config import StudyConfig, load_study, to_toml
from autocompress.context import prepare
from autocompress.errors import DiskFullError, RunError
from autocompress.events import Finished, Progress, Started, ignore
from autocompress.execution import Executor
from autocompress.execution.pool import LocalPool
from autocompress.problem import Problem, problem_from
from autocompress.runs import Run, layout
from autocompress.runs.journal import Journal, Session, Trained, now, read_events
from autocompress.runs.lock import is_being_run, only_writer
from autocompress.runs.opening import require_trusted
from autocompress.runs.wholeness import refuse_damages
from autocompress.study.budget import Amount, Budget
from autocompress.study.check import check_problem
from autocompress.study.continuing import (
    header_document,
    refuse_old_format,
    settle_changes,
)
from autocompress.study.final import evaluate_front, reopen
from autocompress.study.loop import SearchLoop
from autocompress.study.session import asked, nearest_recipes, proposer_of
from autocompress.study.signals import interrupted_by_signals
from autocompress.targets import within_usable_cores
from autocompress.trust import trust


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
    document = header_document(problem, nearest_recipes(config.space(), recipes))
    contents = {layout.STUDY: to_toml(config).encode(), layout.HEADER: document}
    # Only now, so that what fails before leaves nothing.
    try:
        write_folder(folder, contents, replace=_has_nothing(folder))
    except OSError as error:
        _refuse_existing(folder)  # another run of this name has begun meanwhile
        raise RunError(
            f"{folder} cannot be made ({error}); put runs elsewhere (--runs DIR, in Python "
            "directory=DIR)"
        ) from error
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
    refuse_old_format(old.path)
    require_trusted(old.path, old.config, allow)
    problem = problem_from(load_study(old.path / layout.STUDY))
    return go_on(problem, old, amount=amount or Amount(), executor=executor, progress=progress)


def go_on(
    problem: Problem, old: Run, *, amount: Amount, executor: Executor | None, progress: Progress
) -> Run:
    """Go on with a run of a problem, as ``resume_run`` does.

    What may change, such as limits, is written into its study file first: every process of the
    run, and all who read it, go by that.
    """
    refuse_old_format(old.path)
    refuse_damages(old.path, old.damages())
    problem.target.check()
    with only_writer(old.path):
        settle_changes(old, problem)
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
            _note_networks(journal, folder)
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


def _note_networks(journal: Journal, folder: Path) -> None:
    """Note the weights of baseline and teacher, as they will stay."""
    events = read_events(folder / layout.JOURNAL)
    known = {event.role: event.sha256 for event in events if isinstance(event, Trained)}
    for role in (layout.BASELINE, layout.TEACHER):
        weights = folder / role / layout.WEIGHTS
        if weights.exists():
            sha256 = digest_of_file(weights)
            if known.get(role) != sha256:
                journal.append(Trained(role=role, time=now(), sha256=sha256))


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
