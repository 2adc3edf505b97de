"""Kill, stop, fill, flood and damage at random, and check that nothing that was finished is lost.

Run as ``python tests/robustness/chaos.py [--seconds 60] [--seed N]``; it says at the end what it
tried. The same seed makes the same choices; what the machine is doing decides what they hit.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
from starlette.testclient import TestClient

from autocompress.artifacts import digest_of_folder
from autocompress.dashboard.server import make_app
from autocompress.errors import AutocompressError
from autocompress.runs import Run

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_studies import STUDY

TRIALS = 5
GONE_S = 20  # until no process of a run may be left
SLOW_S = 120


@dataclass
class Chaos:
    """One campaign.

    Attributes:
        random: makes all choices.
        home: a folder to work in.
        tried: how often each thing was tried.
        wrong: what did not hold.
    """

    random: random.Random
    home: Path
    tried: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The folder of the run that is tormented."""
        return self.home / "runs" / "micro"

    def report(self) -> str:
        """Say what was tried, and what did not hold."""
        lines = [f"{times:6d}  {what}" for what, times in sorted(self.tried.items())]
        lines += [f"did not hold: {text}" for text in self.wrong]
        return "\n".join([*lines, f"{len(self.wrong)} did not hold", ""])

    def expect(self, holds: bool, text: str) -> None:  # noqa: FBT001 (as assert)
        """Note what does not hold."""
        if not holds:
            self.wrong.append(text)

    # Kills and signals ---------------------------------------------------------------------

    def kill(self) -> None:
        """End a run at a random moment in a random way, and go on with it."""
        how, whom = self._how(), self.random.choice(["all", "parent", "worker"])
        self.tried[f"{how.name} to {whom}"] += 1
        before = finished(self.run)
        process = self._search()
        time.sleep(self.random.uniform(0, 14))
        victims = victims_of(process, whom)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(how)
        if how == signal.SIGSTOP:
            time.sleep(2)
            for victim in victims:
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SLOW_S)
        children_end(process, self)
        self._same(before, f"after {how.name} to {whom}")

    def _how(self) -> signal.Signals:
        ways = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP)
        return self.random.choice(ways)

    def _search(self) -> subprocess.Popen[bytes]:
        begun = (self.run / "run.json").exists()
        if begun and len(finished(self.run)) >= TRIALS:
            shutil.rmtree(self.run)
            begun = False
        words = ["resume", str(self.run)] if begun else ["run", "study.toml"]
        with (self.home / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "autocompress.cli", *words],
                cwd=self.home, env=environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _same(self, before: dict[int, str], when: str) -> None:
        if not (self.run / "run.json").exists():
            self.expect(not before, f"{when}: the run is gone")
            return
        after = finished(self.run)
        lost = {n for n, text in before.items() if after.get(n) != text}
        self.expect(not lost, f"{when}: trials {sorted(lost)} were lost or changed")
        code, text = command("status", self.run)
        self.expect(code == 0, f"{when}: status ended with {code}: {text}")

    # A full disk ---------------------------------------------------------------------------

    def fill(self) -> None:
        """Search on a disk that is too small, then make room and go on."""
        small = self.home / "small"
        small.mkdir(exist_ok=True)
        size = self.random.randint(300, 2500)
        if not mount(small, f"{size}k"):
            self.tried["full disk: not possible here"] += 1
            return
        self.tried["full disk"] += 1
        try:
            shutil.copy(self.home / "study.toml", small)
            code, text = command("run", "study.toml", cwd=small)
            self.expect(code in (0, 1, 2, 3), f"full disk: run ended with {code}: {text}")
            self.expect("Traceback" not in text, f"full disk: {text[-2000:]}")
            run = small / "runs" / "micro"
            before = finished(run)
            remount(small, "64m")
            code, text = command("resume", run) if run.exists() else (0, "")
            self.expect(code == 0, f"after a full disk: resume ended with {code}: {text}")
            lost = {n for n, text in before.items() if finished(run).get(n) != text}
            self.expect(not lost, f"after a full disk: trials {sorted(lost)} were lost")
        finally:
            subprocess.run(["umount", str(small)], check=False)

    # Damage --------------------------------------------------------------------------------

    def damage(self) -> None:
        """Change a file of a copy of the run at random; reading it must end in a sentence."""
        if not finished(self.run):
            return
        copied = self.home / "copied"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(self.run, copied)
        files = sorted(path for path in copied.rglob("*") if path.is_file())
        file = self.random.choice(files)
        what = self._change(file)
        self.tried[f"damage: {what}"] += 1
        name = f"{what} {file.relative_to(copied)}"
        for read in (
            lambda: Run.open(copied).status().to_dict(),
            lambda: Run.open(copied).front_document(),
            lambda: Run.open(copied).table(),
        ):
            try:
                read()
            except AutocompressError as error:
                self.expect(bool(str(error).strip()), f"{name}: an error without a word")
            except Exception as error:  # noqa: BLE001 (whatever it is)
                self.wrong.append(f"{name}: {type(error).__name__}: {error}")

    def _change(self, file: Path) -> str:
        content = bytearray(file.read_bytes())
        what = self.random.choice(["flip", "cut", "empty", "delete", "noise", "swap"])
        position = self.random.randrange(max(1, len(content)))
        if what == "delete":
            file.unlink()
            return what
        if what == "flip" and content:
            content[position] ^= 1 << self.random.randrange(8)
        elif what == "cut":
            del content[position:]
        elif what == "empty":
            content.clear()
        elif what == "noise":
            content[position:position] = self.random.randbytes(self.random.randrange(1, 99))
        elif what == "swap":
            values = self.random.choice([b"null", b"[]", b"{}", b"-1", b"1e999", b'"x"', b"NaN"])
            content[position : position + len(values)] = values
        file.write_bytes(content)
        return what

    # Floods --------------------------------------------------------------------------------

    def flood(self) -> None:
        """Ask the page for nonsense, often; it answers, and never with an error of its own."""
        if not finished(self.run):
            return
        address = "http://127.0.0.1"
        with TestClient(
            make_app(self.run), base_url=address, raise_server_exceptions=False
        ) as page:
            for _ in range(100):
                path = f"/{'/'.join(self._word() for _ in range(self.random.randrange(6)))}"
                headers = {"Host": self.random.choice(["localhost", "evil", "127.0.0.1:9", "::1"])}
                method = self.random.choice(["GET", "POST", "PUT", "HEAD"])
                answer = page.request(method, path, headers=headers)
                self.expect(answer.status_code < 500, f"{method} {path}: {answer.status_code}")
        self.tried["100 requests"] += 1

    def _word(self) -> str:
        known = ["api", "runs", "micro", "trials", "0", "export", "overview", "assets", "main.js"]
        nonsense = "".join(self.random.choices(string.printable + "äß€\u202e", k=12))
        odd = ["..", "%2e%2e", "9" * 400, "-1", "\x00", quote(nonsense)]
        return self.random.choice([*known, *known, *odd]).replace("\x00", "%00")


def victims_of(process: subprocess.Popen[bytes], whom: str) -> list[psutil.Process]:
    """Return the processes that a signal goes to."""
    try:
        parent = psutil.Process(process.pid)
        children = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return {"all": [parent, *children], "parent": [parent], "worker": children[:1]}[whom]


def children_end(process: subprocess.Popen[bytes], chaos: Chaos) -> None:
    """Check that no process of a session is left some seconds after it ended."""
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        left = [p for p in psutil.process_iter(["pid"]) if session_of(p.pid) == process.pid]
        left = [p for p in left if p.pid != process.pid]
        if not left:
            return
        time.sleep(0.2)
    chaos.wrong.append(f"{len(left)} processes are left {GONE_S} s after the run ended")
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def session_of(pid: int) -> int:
    """Return the session of a process; -1 where there is none any more."""
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def finished(run: Path) -> dict[int, str]:
    """Return what is stored of every complete trial, its model included, by number."""
    if not (run / "run.json").exists():
        return {}
    found = {}
    for trial in Run.open(run).trials():
        if trial.state == "complete" and trial.folder is not None:
            values = {name: metric.value for name, metric in sorted(trial.searched.items())}
            found[trial.number] = json.dumps([values, digest_of_folder(trial.folder)])
    return found


def command(*words: object, cwd: Path | None = None) -> tuple[int, str]:
    """Run a command; return its exit code and all that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "autocompress.cli", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment(),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def environment() -> dict[str, str]:
    """Return the environment of the commands."""
    paths = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def mount(folder: Path, size: str) -> bool:
    """Mount a small file system; return whether that is possible."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def remount(folder: Path, size: str) -> None:
    """Make room on a small file system."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def campaign(seconds: float, seed: int) -> Chaos:
    """Torment a run for some time."""
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(random.Random(seed), Path(folder))
        text = STUDY.replace("trials = 4", f"trials = {TRIALS}")
        (chaos.home / "study.toml").write_text(text, encoding="utf-8")
        code, said = command("run", "study.toml", "--trials", "2", cwd=chaos.home)
        chaos.expect(code == 0, f"the first run ended with {code}: {said}")
        end = time.monotonic() + seconds
        for act in acts(chaos):
            if time.monotonic() > end or len(chaos.wrong) > 20:
                return chaos
            act()
    return chaos


def acts(chaos: Chaos) -> Iterator[Callable[[], None]]:
    """Yield what is done next, for ever."""
    while True:
        yield from [chaos.damage] * 20
        yield chaos.flood
        yield chaos.random.choices([chaos.kill, chaos.fill], [5, 1])[0]


def main() -> int:
    """Run a campaign; returns 0 where everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    chaos = campaign(options.seconds, options.seed)
    sys.stdout.write(f"seed {options.seed}, {options.seconds:g} s\n{chaos.report()}")
    return 1 if chaos.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
