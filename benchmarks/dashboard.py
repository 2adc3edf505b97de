"""Is the dashboard quick? The served page in a headless Chromium, on runs with made-up numbers.

    PYTHONPATH=tests python -m benchmarks.dashboard --trials 200 10000

Times as a user has them: from the address to the first points, from a click on a model to its
pictures, from a step of a slider to the dimmed plot, and from the request after a trial has ended
to the plot that shows it. Beside them the processor time of server and browser together: what
they would take at most on one idle core. Results: ``results/dashboard.*``. Needs a Chromium and
``playwright``.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

from autocompress.runs import Run

from made_up_runs import add_trial, made_up_run

HERE = Path(__file__).parent
REPEATS = 5
POINTS = "() => document.querySelector('#pareto')?.data?.some((t) => t.meta?.rows?.length)"
CLICK = """(number) => new Promise((done) => {
  const began = performance.now(), dialog = document.querySelector("#model");
  let opened = null, full = null;
  const look = () => {
    const now = performance.now() - began, parts = [...dialog.querySelectorAll("[data-part]")];
    const own = dialog.open && dialog.querySelector("h2").textContent === `Trial ${number}`;
    if (own) opened ??= now;
    if (own && dialog.querySelector(".card")) full ??= now;
    if (full !== null && parts.length && parts.every((part) => part.querySelector(".main-svg"))) {
      done([opened, full, now]);
    } else requestAnimationFrame(look);
  };
  location.hash += `&trial=${number}`;
  look();
})"""
STEP = """(at) => new Promise((done) => {
  const slider = document.querySelector("#budget-latency_ms"), began = performance.now();
  const plot = document.querySelector("#pareto");
  plot.once("plotly_afterplot", () => done(performance.now() - began));
  slider.value = Math.round(at * slider.max);
  slider.dispatchEvent(new Event("input"));
})"""
REFRESH = """() => new Promise((done) => {
  performance.clearResourceTimings();
  performance.setResourceTimingBufferSize(1000);
  document.querySelector("#pareto").once("plotly_afterplot", () => {
    const asked = performance.getEntriesByType("resource");
    done(performance.now() - asked.filter((e) => e.name.endsWith("overview")).at(-1).startTime);
  });
})"""


Times = dict[str, list[tuple[float, float]]]  # milliseconds: as a user has them, and of processors


def busy() -> float:
    """Return the processor time of server and browser until now, in milliseconds."""
    mine = psutil.Process().children(recursive=True)
    return 1000 * sum(sum(process.cpu_times()[:2]) for process in mine)


def measure(folder: Path, trials: int) -> Times:
    """Return the times of a run with so many trials."""
    complete, few = int(trials * 0.75), trials // 20
    states = {"failed": few, "pruned": few, "stopped": 2 * few, "derived": few}
    if not folder.exists():
        made_up_run(folder, complete=complete, **states, finished=False, wanted=trials + 100)
    command = [sys.executable, "-m", "autocompress.cli", "dashboard", str(folder), "--no-open"]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        started = 1000 * (time.perf_counter() - began), busy()
        with sync_playwright() as tool:
            path = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.set_default_timeout(300_000)
            found = {"the server starts": [started]}
            found |= _times(page, address, folder, trials)
            browser.close()
        return found
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _times(page: Page, address: str, folder: Path, trials: int) -> Times:
    def first_points() -> tuple[float, float]:
        page.goto("about:blank")
        before, began = busy(), time.perf_counter()
        page.goto(address)
        page.wait_for_function(POINTS)
        return 1000 * (time.perf_counter() - began), busy() - before

    cold, again = first_points(), [first_points() for _ in range(REPEATS)]
    page.wait_for_selector("html[data-ready]", state="attached")
    steps = []
    for n in range(REPEATS):
        before = busy()
        steps.append((page.evaluate(STEP, 0.9 - n / 10), busy() - before))
    page.click("#reset")
    numbers = [c.get_attribute("data-trial") for c in page.locator("[data-pick]").all()]
    clicks = []
    for number in dict.fromkeys(numbers):
        before = busy()
        clicks.append((*page.evaluate(CLICK, number), busy() - before))
        page.keyboard.press("Escape")
        page.wait_for_selector("#model", state="hidden")
    refreshes, number = [], len(Run.open(folder).trials())
    for extra in range(REPEATS):
        page.evaluate(f"window.shown = ({REFRESH})(); 0")
        add_trial(folder, number + extra, "complete", random.Random(trials + extra))
        before = busy()
        refreshes.append((page.evaluate("window.shown"), busy() - before))
    return {
        "first points, first time": [cold],
        "first points, again": again,
        "a slider's step": steps,
        "a click on a model, until it opens": [(click[0], click[3]) for click in clicks],
        "a click on a model, to its numbers": [(click[1], click[3]) for click in clicks],
        "a click on a model, to its last picture": [(click[2], click[3]) for click in clicks],
        "a trial has ended, request to plot": refreshes,
    }


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[200, 10_000])
    parser.add_argument("--runs", type=Path, help="where made-up runs are kept between calls")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        runs = given.runs or Path(home)
        found = {n: measure(runs / str(n), n) for n in given.trials}
    machine = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "plotly": importlib.metadata.version("plotly"),
    }
    _write(machine, found, given.results)


def _write(machine: dict[str, Any], found: dict[int, Times], results: Path) -> None:
    results.mkdir(parents=True, exist_ok=True)
    plain = json.dumps({"machine": machine, "ms": found}, indent=1)
    (results / "dashboard.json").write_text(plain + "\n")
    where = ", ".join(f"{name} {value}" for name, value in machine.items())
    lines = [
        "# The dashboard in a headless Chromium", "", f"{where}; milliseconds.", "",
        "| trials | what | n | median | from | to | of processors, median |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for trials, times in found.items():
        for what, pairs in times.items():
            ms, spent = zip(*pairs, strict=True)
            spread = " | ".join(f"{n:.0f}" for n in (statistics.median(ms), min(ms), max(ms)))
            own = statistics.median(spent)
            lines.append(f"| {trials} | {what} | {len(ms)} | {spread} | {own:.0f} |")
    text = "\n".join(lines) + "\n"
    (results / "dashboard.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
