"""The journal of a run: what happened to its trials, one JSON document per line.

The process that searches is the only writer. A line is whole or absent: a kill leaves at most an
unfinished last line, which readers ignore and the next writer cuts off.
"""

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autocompress.documents import parse_json, typed
from autocompress.errors import RunError
from autocompress.reading import as_time
from autocompress.results import TrialResult, unversioned
from autocompress.sentences import shown
from autocompress.settings import setting


def _no_time(text: str) -> str:
    return "" if as_time(text) else "expected a time in ISO 8601"


@dataclass(frozen=True, kw_only=True)
class Session:
    """The search began, or goes on.

    Attributes:
        time: when, in ISO 8601 with its time zone.
        trials: trials in all that are wanted; ``None``: as many as fit into the time.
        asked: whether this number was asked for when the session began, and is not the study's.
        timeout_s: seconds after which no new trial starts.
        fidelity: fraction of the epochs that trials train from now on; ``None``: as before.
    """

    time: str = setting(help="when", check=_no_time)
    trials: int | None = setting(None, help="wanted in all", low=0)
    asked: bool = False
    timeout_s: float | None = setting(None, help="after which no new trial starts", low=0)
    fidelity: float | None = setting(None, help="fraction of the epochs", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A trial is to be run: at once, or first of all after an interruption.

    Attributes:
        number: of the trial.
        time: when.
        params: values of the search parameters.
        recipe: what they make, as ``Recipe.to_dict`` writes it.
        origin: who proposed it: ``"sampler"``, or ``"initial"`` for what a study begins with.
        start: trial whose trainable weights it starts from; ``None``: the baseline.
        name: of an initial recipe.
    """

    number: int = setting(help="of the trial", low=0)
    time: str = setting(help="when", check=_no_time)
    params: Mapping[str, Any]
    recipe: Mapping[str, Any]
    origin: str = "sampler"
    start: int | None = setting(None, help="trial that it starts from", low=0)
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A trial has ended; an interrupted one waits to be run again.

    Attributes:
        number: of the trial.
        time: when.
        result: without what was derived from it: each of these is a trial of its own.
        parent: number of the trial whose training run it shares; then nothing proposed it.
        params: of a derived trial, the nearest values of the search parameters.
        started: when its work began, after it was proposed; ``None``: that is not known.
    """

    number: int = setting(help="of the trial", low=0)
    time: str = setting(help="when", check=_no_time)
    result: TrialResult
    parent: int | None = setting(None, help="trial whose training it shares", low=0)
    params: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = setting(None, help="when its work began", check=_no_time)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that all trials share is there, and stays as it is.

    Attributes:
        role: ``"baseline"`` or ``"teacher"``.
        time: when.
        sha256: of the file of its weights.
    """

    role: str
    time: str
    sha256: str


Event = Session | Trained | Proposed | Ended
_KINDS: Mapping[str, type[Session] | type[Trained] | type[Proposed] | type[Ended]] = {
    "session": Session,
    "trained": Trained,
    "proposed": Proposed,
    "ended": Ended,
}


def now() -> str:
    """Return the time as the journal writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Journal:
    """The journal of a run, to be written: by one process at a time.

    Args:
        path: the file; made where it is missing, mended where a kill cut its last line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = _whole(path.read_bytes()) if path.exists() else b""
        if path.exists() and len(whole) < path.stat().st_size:
            os.truncate(path, len(whole))

    def append(self, event: Event) -> None:
        """Write an event, and wait until it is on disk.

        Raises:
            OSError: it could not be written; nothing of it is left.
        """
        kind = next(name for name, known in _KINDS.items() if isinstance(event, known))
        plain = asdict(event)
        if isinstance(event, Ended):
            plain["result"] = event.result.to_dict()
        line = json.dumps({"event": kind, **plain}, allow_nan=False).encode() + b"\n"
        with self.path.open("ab") as file:
            before = file.tell()
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, before)
                raise


def read_events(path: Path, start: int = 0) -> Iterator[Event]:
    """Yield the events of a journal, in order; an unfinished last line is left out.

    Args:
        path: the file; one that is missing has no events.
        start: bytes to skip: where an earlier reading ended.

    Raises:
        RunError: a line is damaged; the message names it.
    """
    yield from read_from(path, start)[0]


def read_from(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """Return the events after so many bytes, and where the next reading goes on.

    Args:
        path: as for ``read_events``.
        start: as for ``read_events``.

    Raises:
        RunError: a line is damaged; the message names it.
    """
    if not path.exists():
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        whole = _whole(file.read())
    events = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            events.append(_event(parse_json(line, "it")))
        except RunError as error:
            where = f"{path}:{number}" if not start else f"{path}, {start} bytes on, line {number}"
            raise RunError(f"{where}: not an event of a run: {error}") from error
    return events, start + len(whole)


def _event(data: Any) -> Event:
    kind = data.get("event") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RunError(f"event: expected one of {', '.join(_KINDS)}, got {shown(kind)}")
    known = {key: value for key, value in data.items() if key != "event"}
    if kind == "ended":
        known["result"] = unversioned(known.get("result"))
    event: Event = typed(_KINDS[kind], known, kind)
    return event


def _whole(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
