"""Reload each model file of a bundle, compare and time it, in a process that has nothing else.

Run as ``python -m autocompress.export.verify BUNDLE [--material FOLDER] [--report FILE]``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autocompress.errors import AutocompressError, VerificationError
from autocompress.export.checks import Opened, check_accuracy, check_golden
from autocompress.export.formats import FORMATS, Batch, Format
from autocompress.export.loading import GOLDEN, WEIGHTS, check_files, load, read_index
from autocompress.targets import DeviceLock, count_parameters
from autocompress.targets.sampling import Effort, sample
from autocompress.targets.statistics import percentiles_ms
from autocompress.targets.timing import timed_by_clock

WIDTH, CONTENTION = 0.02, 0.1  # see LatencySettings
VALIDATION, BASELINE = "validation", "baseline"  # folders in the material


def verify(bundle: Path, material: Path | None = None) -> dict[str, dict[str, Any]]:
    """Check every model file of a bundle.

    Args:
        bundle: the folder.
        material: a folder with ``validation/``, see :func:`check_accuracy`, and ``baseline/``,
            the uncompressed model in some formats. Without it, accuracy and time are left out.

    Returns:
        for each model file ``failed``, why it failed or None; where it did not: ``difference``
        from the golden outputs, as a fraction of their standard deviation, and ``batch``, the
        batch sizes that it runs; with material also what :func:`check_accuracy` returns, and
        ``latency`` and ``baseline_latency`` (None: not measured), see :func:`time_calls`, and
        ``parameters`` (None: the format does not tell).

    Raises:
        UsageError: the bundle is missing, foreign or was changed.
    """
    index = read_index(bundle)
    check_files(bundle, index, tuple(index["files"]))
    torch.set_num_threads(index["latency"]["threads"])
    report = {}
    for name, batch in index["batch"].items():
        try:
            report[name] = {"failed": None, **_check(bundle, name, batch, index, material)}
        except AutocompressError as error:
            report[name] = {"failed": str(error)}
    return report


def _check(
    bundle: Path, name: str, batch: Batch, index: dict[str, Any], material: Path | None
) -> dict[str, Any]:
    kind = next((kind for kind in FORMATS.values() if kind.filename == name), None)
    read = load if kind is None else kind.read
    path = bundle if name == WEIGHTS else bundle / name
    run = _guarded(name, "opened", partial(read, path))
    guarded = lambda images: _guarded(name, "run", partial(run, images))  # noqa: E731
    exact, expected = kind is None or kind.exact, index["expected"].get(name)
    model = Opened(name, guarded, batch, exact=exact, expected=expected)
    golden = load_file(bundle / GOLDEN)
    found: dict[str, Any] = {"difference": check_golden(model, golden), "batch": batch}
    if material is None:
        return found
    found |= check_accuracy(model, material / VALIDATION)
    found["parameters"] = count_parameters(run) if isinstance(run, nn.Module) else None
    images = _first(golden["inputs"], 1 if batch == 1 else index["latency"]["batch_size"])
    clock = partial(time_calls, budget_s=index["latency"]["budget_s"])
    found["latency"] = clock(partial(run, images))
    return found | _timed_baseline(kind, material, images, clock)


def _guarded(name: str, what: str, do: Callable[[], Any]) -> Any:
    """Do something in a runtime, whose errors share no class."""
    try:
        return do()
    except AutocompressError:
        raise
    except Exception as error:
        raise VerificationError(f"{name} can't be {what}: {error}") from error


def _timed_baseline(
    kind: type[Format] | None, material: Path, images: Tensor, clock: Callable[..., Any]
) -> dict[str, Any]:
    """Time the uncompressed model in the same runtime, where it was written for that.

    It is there for comparison only: what fails with it is told, and fails no file.
    """
    path = None if kind is None else material / BASELINE / FORMATS[kind.baseline].filename
    if kind is None or path is None or not path.exists():
        return {"baseline_latency": None}
    what = f"the uncompressed model, as {path.name},"
    try:
        run = _guarded(what, "opened", partial(FORMATS[kind.baseline].read, path))
        return {"baseline_latency": _guarded(what, "timed", lambda: clock(partial(run, images)))}
    except AutocompressError as error:
        return {"baseline_latency": None, "baseline_failed": str(error)}


def time_calls(call: Callable[[], Any], *, budget_s: float) -> dict[str, Any]:
    """Time repeated calls on the CPU: warmed up, in blocks, with the device to itself.

    Args:
        call: what to time.
        budget_s: seconds that it may take.

    Returns:
        plain data: ``p10_ms``, ``p50_ms``, ``p90_ms`` of the calls, ``n``, ``contention``
        (fraction of time that other processes took) and ``flag``, why to read them with care.
    """
    effort = Effort(budget_s=budget_s, width=WIDTH, contention=CONTENTION)
    with DeviceLock(torch.device("cpu")).exclusive():
        outcome = sample(timed_by_clock(call), effort)
    p10, p50, p90 = percentiles_ms(outcome.candidate)
    return {
        "p10_ms": p10,
        "p50_ms": p50,
        "p90_ms": p90,
        "n": sum(len(block.samples_ms) for block in outcome.candidate),
        "contention": outcome.contention,
        "flag": outcome.flag,
    }


def _first(images: Tensor, count: int) -> Tensor:
    """Return ``count`` images, some of them again where there are fewer."""
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count].contiguous()


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a bundle; returns 0 where all is well, 1 with the reasons on stderr else."""
    parser = argparse.ArgumentParser(prog="python -m autocompress.export.verify")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--material", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    try:
        report = verify(options.bundle, options.material)
    except AutocompressError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps(report, indent=2)
    if options.report is None:
        sys.stdout.write(f"{text}\n")
    else:
        options.report.write_text(text, encoding="utf-8")
    failed = [check["failed"] for check in report.values() if check["failed"]]
    sys.stderr.writelines(f"{reason}\n" for reason in failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
