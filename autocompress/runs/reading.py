"""A run, as it lies on disk: its baseline, trials, front and picks."""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autocompress.documents import read_document
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.metrics import Limits
from autocompress.metrics.splits import deciding
from autocompress.results import Estimates
from autocompress.runs import layout
from autocompress.runs.final import Final
from autocompress.runs.importances import importances
from autocompress.runs.lock import is_being_run
from autocompress.runs.opening import file_version, read_study, stored_in, wanted_by
from autocompress.runs.picks import (
    BALANCED,
    Budget,
    Infeasibility,
    Picker,
    check_budget,
    excesses,
    infeasibility_of,
    pick_names,
)
from autocompress.runs.records import Reading, TrialRecord, front_of
from autocompress.runs.rows import flat, front_row, table_row
from autocompress.runs.status import Status, counts_of, status_of
from autocompress.runs.stored import Stored, StoredTrial, Structure
from autocompress.sentences import one_line

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A run's folder, opened for reading; what changes there is read again.

    Attributes:
        path: the folder.
        name: the study's.
        created: when the run began, with its time zone.
        objectives: what the search improves, 1 to 5 metrics.
        score: the task's first score.
        metrics: all of the run's, by name; scores on the test split are ``test_NAME``.
        task: name of the task.
        sizes: number of items by split; empty where they were not noted.
        fingerprint: the hardware and software that all latencies were measured on.
    """

    def __init__(self, path: Path, stored: Stored) -> None:
        header = stored.header()
        self.path, self._stored = path, stored
        self.name, self.created = header.name, header.created
        self.objectives, self.score, self.metrics = header.objectives, header.score, header.metrics
        self.task, self.sizes, self.fingerprint = header.task, header.sizes, header.fingerprint
        self._config, self._config_version = read_study(path), file_version(path / layout.STUDY)
        self._version = ""  # of what was read last
        self._reading: Reading | None = None
        self._known: dict[int, tuple[StoredTrial, TrialRecord]] = {}
        self._trials: tuple[TrialRecord, ...] = ()
        self._front: tuple[TrialRecord, ...] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Run {self.name!r} in {self.path}>"

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run.

        Args:
            path: the folder, of this release or of release 0.1.

        Raises:
            RunError: the folder is missing, not a run, or damaged; the message says which.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path} is not a folder; a run is a folder such as runs/quickstart")
        if not (path / layout.HEADER).exists():
            raise RunError(f"{path} is not a run: it has no {layout.HEADER}")
        return cls(path, stored_in(path))

    @property
    def config(self) -> dict[str, Any]:
        """The resolved study file, as it is now: its ``[limits]`` may be edited.

        Raises:
            RunError: it can't be read any more.
        """
        version = file_version(self.path / layout.STUDY)
        if version != self._config_version:
            self._config, self._config_version = read_study(self.path), version
        return self._config

    @property
    def limits(self) -> Limits:
        """The limits of the study file, as it is now.

        Raises:
            RunError: one of them is unknown or outside its range.
        """
        try:
            known = list(deciding(self.metrics).values())
            return Limits.from_mapping(self.config.get("limits", {}), known)
        except ConfigurationError as error:
            raise RunError(one_line(f"{self.path / layout.STUDY}: {error}")) from error

    @property
    def baseline(self) -> Estimates:
        """What was measured of the baseline; empty until then."""
        return {**self._stored.baseline().metrics, **(self._stored.final() or Final()).baseline}

    @property
    def baseline_samples_ms(self) -> tuple[float, ...]:
        """Durations of single calls of the baseline."""
        return self._stored.baseline().samples_ms

    @property
    def structure(self) -> Structure:
        """The baseline's groups of units, and what cannot be removed and why."""
        path = self.path / layout.BASELINE / layout.UNITS
        needs = ("units", "fixed")
        return read_document(Structure, path, needs=needs) if path.exists() else Structure()

    @property
    def final(self) -> Final | None:
        """The final evaluation, as far as it is: measured again, and scored on the test split."""
        return self._stored.final()

    @property
    def finished(self) -> bool:
        """Whether there is a final evaluation that came to its end."""
        return self.final is not None and self.final.complete

    @property
    def wanted(self) -> int | None:
        """Trials in all that the last session was to run; ``None``: as many as fit the time."""
        try:
            with self._lock:
                return self._stored.wanted()
        except LookupError:
            return wanted_by(self.config, self.path)

    def trials(self) -> list[TrialRecord]:
        """Return all trials, in the order of their numbers; read again where something changed."""
        return list(self._read())

    def trial(self, number: int) -> TrialRecord:
        """Return one trial.

        Raises:
            UsageError: there is no such trial; the message gives the range.
        """
        trials = self._read()
        at = bisect_left(trials, number, key=lambda trial: trial.number)
        if at == len(trials) or trials[at].number != number:
            last = trials[-1].number if trials else None
            there = "it has no trials yet" if last is None else f"it has trials 0 to {last}"
            raise UsageError(f"{self.path} has no trial {number}; {there}")
        return trials[at]

    def front(self, budget: Budget | None = None) -> list[TrialRecord]:
        """Return the feasible trials that no other feasible trial dominates.

        Dominance follows what the search measured of all trials alike. Limits, budgets and order
        follow what counts: the final evaluation of those that have one. The order is by the first
        objective that is not the score, the best first.

        Args:
            budget: leave out what is not within it: the most (or, of a metric that is maximized,
                the least) by name of a metric.

        Raises:
            UsageError: the budget names a metric that the run does not have.
        """
        trials = self._read()
        with self._lock:
            if self._front is None:
                self._front = front_of(self.objectives, self.score, trials)
            front = self._front
        check_budget(budget or {}, self.metrics)
        return [t for t in front if not excesses(budget or {}, t.metrics, self.metrics)]

    def pick(self, how: str = BALANCED, budget: Budget | None = None) -> TrialRecord:
        """Choose one member of the front.

        ``balanced`` takes, among the models whose score is within one point of the baseline's
        (for a score that is no fraction, within 1 %), the one with the smallest product of the
        other objectives' ratios to the baseline; if none is, the one with the best score.

        Args:
            how: ``pick`` of an objective, such as ``fast`` or ``small``, or ``balanced``.
            budget: as for ``front``.

        Raises:
            UsageError: nothing on the front is within the budget; the message gives the nearest.
        """
        front = self.front()
        if not front:
            raise UsageError(f"{self.path} has no finished, feasible trial to pick from")
        return self._picker().choose(how, front, budget or {})

    def picks(self) -> dict[str, TrialRecord]:
        """Return what ``pick`` chooses in each way; empty while the front is."""
        front, picker = self.front(), self._picker()
        names = pick_names(self.objectives) if front else ()
        return {how: picker.choose(how, front, {}) for how in names}

    def table(self) -> "pd.DataFrame":
        """Return one row per trial: state, metrics, and search parameters as ``params.NAME``."""
        import pandas as pd

        front, baseline = {trial.number for trial in self.front()}, self.baseline
        rows = [
            table_row(t, baseline, self.metrics, self.score, on_front=t.number in front)
            for t in self._read()
        ]
        return pd.DataFrame(rows)

    def importances(self) -> "pd.DataFrame":
        """Return which search parameters matter, as ``autocompress.runs.importances`` does."""
        with self._lock:
            complete = self._stored.frozen(self.config.get("search", {}))
        return importances(complete, self.objectives)

    def infeasibility(self) -> Infeasibility | None:
        """Return which limits keep trials off the front, where they keep all of them."""
        tried = [trial for trial in self._read() if trial.violations]
        if any(trial.feasible for trial in tried):
            return None
        return infeasibility_of(tried, self.limits)

    def damages(self) -> tuple[str, ...]:
        """Return what is missing, was changed, or is not the run's own, in words."""
        return self._stored.damages()

    def status(self) -> Status:
        """Return trials by state, reasons of failures, the best so far, and time per stage."""
        return status_of(self)

    def front_document(self, budget: Budget | None = None) -> dict[str, Any]:
        """Return baseline and front as plain data: what ``autocompress front --json`` prints."""
        baseline = self.baseline
        return {
            "study": self.name,
            "objectives": {metric.name: metric.direction for metric in self.objectives},
            "baseline": flat(baseline, baseline, self.metrics),
            "front": [front_row(t, baseline, self.metrics) for t in self.front(budget)],
            "trials": asdict(counts_of(self._read())),
        }

    def version(self) -> str:
        """Return a text that changes whenever something of the run may have changed."""
        names = (*self._stored.files, layout.STUDY, f"{layout.CONTROLS}/{layout.SCRATCH}")
        active = "active" if is_being_run(self.path) else "idle"
        return "-".join([active, *(file_version(self.path / name) for name in names)])

    def _picker(self) -> Picker:
        return Picker(self.objectives, self.score, self.metrics, self.baseline)

    def _read(self) -> Sequence[TrialRecord]:
        with self._lock:  # the page asks from several threads
            version = self.version()
            if version == self._version:
                return self._trials
            reading = Reading(
                folder=self.path,
                limits=self.limits,
                baseline=self._stored.baseline().metrics,
                final=self._stored.final() or Final(),
            )
            if reading != self._reading:
                self._known = {}
            active = version.startswith("active")
            self._trials = tuple(
                self._record(trial, reading, active=active) for trial in self._stored.trials()
            )
            self._reading, self._front, self._version = reading, None, version
            return self._trials

    def _record(self, stored: StoredTrial, reading: Reading, *, active: bool) -> TrialRecord:
        known = self._known.get(stored.number)
        if known is not None and known[0] is stored:
            return known[1]
        record = reading.record(stored, active=active)
        if stored.result is not None:  # else it depends on whether a process runs it
            self._known[stored.number] = stored, record
        return record
