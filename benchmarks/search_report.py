"""What the arms of ``search.py`` reached: hypervolume over time, compared at equal time.

Hypervolume is that of (accuracy, latency ratio, parameter ratio) over the reference point
(baseline - 0.10, 1.1, 1.1), as a share of the box between that point and the ideal (1, 0, 0).
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autocompress.metrics.pareto import hypervolumes

ACCURACY_DROP, RATIO = 0.10, 1.1  # of the reference point
SHARES = {"1/5": 0.2, "1/2": 0.5, "all": 1.0}  # of the time
COUNTS = (8, 12, 16, 20)  # of trials: what a sampler is worth where its own time does not matter
WORK_OF_A_TRIAL = ("train", "recover", "measure", "evaluate")  # what a trial is there for
Result = dict[str, Any]


def volumes(result: Result, seconds: float) -> list[tuple[float, float]]:
    """Return (time in s, hypervolume after it) for each candidate that was ready in time."""
    accuracy = result["baseline"]["accuracy"]
    ready = [t for t in result["trials"] if "accuracy" in t and t["finished_s"] <= seconds]
    ready.sort(key=lambda trial: trial["finished_s"])
    points = [
        (
            (1 - t["accuracy"]) / (1 - accuracy + ACCURACY_DROP),
            t["latency_ratio"] / RATIO,
            t["parameter_ratio"] / RATIO,
        )
        for t in ready
    ]
    times = [t["finished_s"] for t in ready]
    clipped = [[max(0.0, value) for value in point] for point in points]
    return list(zip(times, hypervolumes(clipped, [1.0, 1.0, 1.0]), strict=True))


def volume_at(curve: Sequence[tuple[float, float]], moment: float) -> float:
    """Return the hypervolume at a time."""
    return max((volume for time_s, volume in curve if time_s <= moment), default=0.0)


def reached(curve: Sequence[tuple[float, float]], volume: float) -> float | None:
    """Return the first time at which the hypervolume is at least this, if it ever is."""
    return next((time_s for time_s, value in curve if value >= volume), None)


def volume_after(result: Result, count: int) -> float | None:
    """Return the hypervolume after so many trained trials, however long they took.

    ``None`` where there were fewer.
    """
    trained = [t["finished_s"] for t in result["trials"] if t["state"] in ("complete", "pruned")]
    if len(trained) < count:
        return None
    return volume_at(volumes(result, math.inf), sorted(trained)[count - 1])


def overhead(trials: Iterable[Result]) -> float | None:
    """Return the share of complete trials' time that is neither training nor measuring.

    ``None`` where the trials don't tell how long measuring took.
    """
    timed = [
        t for t in trials
        if t["state"] == "complete" and t["wall_s"] and {"measure", "evaluate"} <= {*t["seconds"]}
    ]  # fmt: skip
    if not timed:
        return None
    used = sum(t["seconds"].get(stage, 0.0) for t in timed for stage in WORK_OF_A_TRIAL)
    return 1 - float(used / sum(t["wall_s"] for t in timed))


def summary(results: Mapping[str, Result], seconds: float) -> Result:
    """Return one arm's numbers for each seed, and their medians."""
    curves = {seed: volumes(result, seconds) for seed, result in results.items()}
    trials = [t for result in results.values() for t in result["trials"]]
    in_time = [t for t in trials if t["finished_s"] <= seconds]
    shares = [s for r in results.values() if (s := overhead(r["trials"])) is not None]
    at = {
        name: {seed: volume_at(curve, share * seconds) for seed, curve in curves.items()}
        for name, share in SHARES.items()
    }
    states = sorted({t["state"] for t in in_time})
    return {
        "seeds": len(results),
        "volume": at,
        "after_trials": {n: _median(volume_after(r, n) for r in results.values()) for n in COUNTS},
        "median_volume": {name: statistics.median(v.values()) for name, v in at.items()},
        "trials": {state: sum(t["state"] == state for t in in_time) for state in states},
        "ready_s": statistics.median(result["ready_s"] for result in results.values()),
        "overhead": statistics.median(shares) if shares else None,
    }


def compared(stored: Result, seconds: float) -> Result:
    """Return autocompress against each other arm: ratios at equal time, and when it caught up."""
    arms, found = stored["arms"], {}
    for other in [name for name in arms if name != "autocompress" and "autocompress" in arms]:
        seeds = sorted(arms["autocompress"].keys() & arms[other].keys())
        ratios: dict[str, list[float]] = {name: [] for name in SHARES}
        times: list[float] = []
        for seed in seeds:
            mine, theirs = (volumes(arms[arm][seed], seconds) for arm in ("autocompress", other))
            for name, share in SHARES.items():
                against = volume_at(theirs, share * seconds)
                value = volume_at(mine, share * seconds)
                ratios[name].append(value / against if against else math.inf if value else 1.0)
            times.append((reached(mine, volume_at(theirs, seconds)) or math.inf) / seconds)
        if seeds:
            found[other] = {
                "seeds": len(seeds),
                "ratio_of_volume": {
                    name: _finite(statistics.median(r)) for name, r in ratios.items()
                },
                "ratios_of_volume": {name: [*map(_finite, r)] for name, r in ratios.items()},
                "share_of_time_to_its_final_volume": _finite(statistics.median(times)),
                "shares_of_time": [*map(_finite, times)],
            }
    return found


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median, or ``None`` where a value is not known."""
    found = [*values]
    known = [value for value in found if value is not None]
    return statistics.median(known) if len(known) == len(found) else None


def _finite(value: float) -> float | None:
    """Return a number that JSON knows: ``None`` for infinity."""
    return value if math.isfinite(value) else None


def report(stored: Result) -> str:
    """Return the results as Markdown."""
    seconds = stored["seconds"]
    arms = {arm: summary(results, seconds) for arm, results in stored["arms"].items()}
    device, versions = stored["device"], stored["versions"]
    lines = [
        "# Hypervolume at equal time",
        "",
        f"{device['cpu']}, one thread; {seconds:g} s per arm; Python {device['python']}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        "Medians over seeds. Overhead: share of a complete trial's time outside training, "
        "measuring and scoring.",
        "",
        *(f"{note}\n" for note in stored.get("notes", ())),
        "| arm | seeds | volume at 1/5 | at 1/2 | at the end | over seeds | trials in time "
        "| first begins after | overhead |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, row in arms.items():
        middle = " | ".join(f"{row['median_volume'][name]:.4f}" for name in SHARES)
        ends = row["volume"]["all"].values()
        trials = ", ".join(f"{n} {state}" for state, n in row["trials"].items())
        share = "-" if row["overhead"] is None else f"{row['overhead']:.1%}"
        spread = f"{min(ends):.4f} to {max(ends):.4f}"
        ready = f"{row['ready_s']:.0f} s"
        cells = [arm, str(row["seeds"]), middle, spread, trials or "none", ready, share]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Median volume after so many trained trials, however long they took; - where a seed had "
        "fewer:",
        "",
        "| arm | " + " | ".join(f"{count} trials" for count in COUNTS) + " |",
        "|---" * (len(COUNTS) + 1) + "|",
    ]
    for arm, row in arms.items():
        after = [row["after_trials"][count] for count in COUNTS]
        cells = ["-" if volume is None else f"{volume:.4f}" for volume in after]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    lines += [
        "",
        "| autocompress against | seeds | ratio at 1/5 | at 1/2 | at the end "
        "| reaches its final volume after |",
        "|---|---|---|---|---|---|",
    ]
    for other, row in compared(stored, seconds).items():
        found = [row["ratio_of_volume"][name] for name in SHARES]
        ratios = " | ".join("-" if ratio is None else f"{ratio:.3f}" for ratio in found)
        share = row["share_of_time_to_its_final_volume"]
        when = "not reached" if share is None else f"{share:.0%} of the time"
        lines.append(f"| {other} | {row['seeds']} | {ratios} | {when} |")
    return "\n".join(lines) + "\n"
