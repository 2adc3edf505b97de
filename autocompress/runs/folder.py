"""The folder of a run, as this release writes it (format 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.documents import known_part, read_document, read_json, typed
from autocompress.reading import as_time
from autocompress.runs import layout
from autocompress.runs.final import Final
from autocompress.runs.header import Header, HeaderDocument
from autocompress.runs.importances import frozen_trials
from autocompress.runs.journal import Ended, Event, Proposed, Session, Trained, read_from
from autocompress.runs.stored import Baseline, StoredTrial
from autocompress.runs.wholeness import damages_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Folder:
    """Reads a run; of its journal only what was not read before.

    Args:
        path: the folder.
    """

    files = (layout.JOURNAL, layout.FINAL, f"{layout.BASELINE}/{layout.EVALUATION}")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0  # in the journal, in bytes
        self._trials: dict[int, StoredTrial] = {}
        self._session: Session | None = None
        self._networks: dict[str, Trained] = {}

    def header(self) -> Header:
        """Return what ``run.json`` holds."""
        path = self.path / layout.HEADER
        return read_document(HeaderDocument, path).header(str(path))

    def baseline(self) -> Baseline:
        """Return what ``baseline/evaluation.json`` holds."""
        path = self.path / layout.BASELINE / layout.EVALUATION
        if not path.exists():
            return Baseline()
        data = known_part(Baseline, read_json(path))  # the details of its latency are left out
        return typed(Baseline, data, f"{path} is damaged", needs=("metrics",))

    def final(self) -> Final | None:
        """Return what ``final.json`` holds."""
        path = self.path / layout.FINAL
        if not path.exists():
            return None
        return read_document(Final, path, needs=("baseline", "trials"))

    def trials(self) -> Sequence[StoredTrial]:
        """Return what the journal holds, by number."""
        path = self.path / layout.JOURNAL
        size = path.stat().st_size if path.exists() else 0
        if size < self._position:  # another journal was put in its place
            self._position, self._trials, self._session = 0, {}, None
            self._networks = {}
        events, self._position = read_from(path, self._position)
        for event in events:
            self._apply(event)
        return [self._trials[number] for number in sorted(self._trials)]

    def wanted(self) -> int | None:
        """Return how many trials the last session was to run."""
        self.trials()
        if self._session is None:
            raise LookupError("no session")
        return self._session.trials

    def frozen(self, search: Mapping[str, Any]) -> "list[FrozenTrial]":
        """Return complete trials that were proposed, with the ranges of their parameters."""
        return frozen_trials(self.trials(), self.header().objectives, search)

    def networks(self) -> Mapping[str, Trained]:
        """Return what the journal notes of baseline and teacher, by their role."""
        self.trials()
        return self._networks

    def damages(self) -> tuple[str, ...]:
        """Return what is missing, was changed, or is not the run's own."""
        return damages_of(self.path, self.trials(), self._networks)

    def _apply(self, event: Event) -> None:
        if isinstance(event, Trained):
            self._networks[event.role] = event
        elif isinstance(event, Session):
            if event.fidelity is None:  # else it goes on, with fewer epochs
                self._session = event
                self._interrupt()
        elif isinstance(event, Proposed):
            before = self._trials.get(event.number)
            self._trials[event.number] = StoredTrial(
                number=event.number,
                lost=0 if before is None else before.lost,
                params=event.params,
                recipe=event.recipe,
                origin=event.origin,
                name=event.name,
                start=event.start,
                started=as_time(event.time),
            )
        else:
            self._trials[event.number] = self._ended(event)

    def _interrupt(self) -> None:
        """Note that what ran when an earlier session was killed waits, and that it was killed."""
        for number, trial in self._trials.items():
            if trial.result is None and not trial.interrupted:
                self._trials[number] = replace(trial, interrupted=True, lost=trial.lost + 1)

    def _ended(self, event: Ended) -> StoredTrial:
        proposed = self._trials.get(event.number)
        if proposed is None:
            proposed = StoredTrial(
                number=event.number,
                params=event.params,
                recipe=event.result.recipe,
                origin="derived",
                parent=event.parent,
                start=_start_of(event.result.recipe),
            )
        if event.result.state == "interrupted":
            return replace(proposed, interrupted=True)
        # what was run counts: an executor of a user's may have given it another start
        started = proposed.started  # a process that was started for it took a while until then
        if event.started is not None:
            started = as_time(event.started)
        recipe = event.result.recipe or proposed.recipe
        return replace(
            proposed,
            started=started,
            finished=as_time(event.time),
            result=event.result,
            recipe=recipe,
            start=_start_of(recipe),
            interrupted=False,
        )


def _start_of(recipe: Mapping[str, Any]) -> int | None:
    start = recipe.get("start")
    return start if isinstance(start, int) else None
