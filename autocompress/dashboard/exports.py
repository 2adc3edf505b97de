"""The export button: it starts ``autocompress export`` in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from autocompress.runs import Run

SHOWN = 8000  # last characters of what a failed export wrote


@dataclass(frozen=True)
class ExportState:
    """How an export goes.

    Attributes:
        state: ``"none"``, ``"running"``, ``"done"`` or ``"failed"``.
        text: the same in words.
    """

    state: str
    text: str


class Exports:
    """The exports that were asked for by the button, and how they went."""

    def __init__(self) -> None:
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def start(self, name: str, run: Run, number: int) -> None:
        """Start exporting a trial, unless that is under way; its messages go to a file."""
        running = self._processes.get((name, number))
        if running is not None and running.poll() is None:
            return
        target = self.target(run, number)
        target.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "autocompress.cli", "export", str(run.path)]
        command += ["--trial", str(number), "--output", str(target)]
        with _messages(target).open("wb") as messages:  # a pipe would fill up, and stop it
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages)
        self._processes[name, number] = process

    def state(self, name: str, run: Run, number: int) -> ExportState:
        """Return how the export of a trial goes; of one that failed, the last messages."""
        process, target = self._processes.get((name, number)), self.target(run, number)
        if process is None:
            return ExportState("none", "")
        if process.poll() is None:
            return ExportState("running", f"exporting to {target}")
        if process.returncode == 0:
            return ExportState("done", f"exported to {target}")
        text = _messages(target).read_text(encoding="utf-8", errors="replace")
        return ExportState("failed", text[-SHOWN:].strip())

    @staticmethod
    def target(run: Run, number: int) -> Path:
        """Return the folder that the button writes."""
        return run.path / "exports" / f"trial-{number}"


def _messages(target: Path) -> Path:
    """Return the file for what the export to a folder writes to its standard error."""
    return target.with_name(f"{target.name}.log")
