"""The export button: it starts ``autocompress export`` in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from autocompress.runs import Run


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
        self._processes: dict[tuple[str, int], subprocess.Popen[str]] = {}
        self._errors: dict[tuple[str, int], str] = {}

    def start(self, name: str, run: Run, number: int) -> None:
        """Start exporting a trial, unless that is under way."""
        running = self._processes.get((name, number))
        if running is not None and running.poll() is None:
            return
        target = self.target(run, number)
        target.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "autocompress.cli", "export", str(run.path)]
        command += ["--trial", str(number), "--output", str(target)]
        self._errors.pop((name, number), None)
        self._processes[name, number] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def state(self, name: str, run: Run, number: int) -> ExportState:
        """Return how the export of a trial goes."""
        key, target = (name, number), str(self.target(run, number))
        process = self._processes.get(key)
        if process is None:
            return ExportState("none", "")
        if process.poll() is None:
            return ExportState("running", f"exporting to {target}")
        if process.returncode == 0:
            return ExportState("done", f"exported to {target}")
        if key not in self._errors:
            self._errors[key] = process.communicate()[1].strip()
        return ExportState("failed", self._errors[key])

    @staticmethod
    def target(run: Run, number: int) -> Path:
        """Return the folder that the button writes."""
        return run.path / "exports" / f"trial-{number}"
