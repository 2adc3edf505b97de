"""Reload each model file of a bundle, compare and time it, in a process that has nothing else.

Run as ``python -m autocompress.bundles.verify BUNDLE [--allow PACKAGE] [--material FOLDER]
[--report FILE]``.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autocompress.bundles.checks import (
    Check,
    Opened,
    Times,
    check_outputs,
    check_validation,
    spreads,
)
from autocompress.bundles.formats import FORMATS, Batch, Format
from autocompress.bundles.loading import GOLDEN, Index, check_files, load, read_index
from autocompress.bundles.material import INPUTS
from autocompress.errors import AutocompressError, VerificationError
from autocompress.sentences import one_line
from autocompress.targets import DeviceLock, Effort, count_parameters
from autocompress.targets.sampling import sample
from autocompress.targets.statistics import percentiles_ms
from autocompress.targets.timing import timed_by_clock

VALIDATION, BASELINE, FOUND = "validation", "baseline", "found"  # folders in the material


def verify(
    bundle: Path, material: Path | None = None, *, allow: Collection[str] = ()
) -> dict[str, Check]:
    """Check every model file of a bundle.

    Args:
        bundle: the folder.
        material: a folder with ``validation/``, see :func:`check_validation`, and ``baseline/``,
            the uncompressed model in some formats; outputs go to ``found/FILE``. Without it,
            files are compared on the golden inputs, and not timed.
        allow: packages or modules whose functions the bundle may name, as in :func:`load`.

    Returns:
        what was found of each model file; scores are not computed here.

    Raises:
        UsageError: the bundle is missing, foreign or was changed.
    """
    index = read_index(bundle)
    check_files(bundle, index, tuple(index.files))
    torch.set_num_threads(min(index.latency.threads, os.cpu_count() or 1))
    report = {}
    for name, batch in index.batch.items():
        try:
            report[name] = _check(_File(bundle, name, batch, index, allow), material)
        except AutocompressError as error:
            report[name] = Check(failed=str(error), batch=batch)
    return report


@dataclass(frozen=True)
class _File:
    """A model file of a bundle."""

    bundle: Path
    name: str
    batch: Batch
    index: Index
    allow: Collection[str]

    @property
    def kind(self) -> type[Format] | None:
        """Its format; ``None``: the weights."""
        return next((kind for kind in FORMATS.values() if kind.filename == self.name), None)

    def open(self) -> Callable[[Tensor], Any]:
        """Return a function from inputs to outputs."""
        path, kind = self.bundle / self.name, self.kind
        read = (
            partial(load, self.bundle, allow=self.allow)
            if kind is None
            else partial(kind.read, path)
        )
        run: Callable[[Tensor], Any] = _guarded(self.name, "opened", read)
        return run


def _check(file: _File, material: Path | None) -> Check:
    run = file.open()
    guarded = lambda inputs: _guarded(file.name, "run", partial(run, inputs))  # noqa: E731
    exact = file.kind is None or file.kind.exact
    model = Opened(file.name, guarded, file.batch, exact=exact)
    golden = _guarded(GOLDEN, "opened", partial(load_file, file.bundle / GOLDEN))
    if INPUTS not in golden or not all(tensor.numel() for tensor in golden.values()):
        raise VerificationError(f"{GOLDEN} holds no inputs and outputs to compare with")
    inputs, spread = golden.pop(INPUTS), spreads(golden)
    compare = partial(check_outputs, model, inputs, golden, spread)
    difference, _ = _guarded(file.name, "compared", compare)
    found = Check(batch=file.batch, difference=difference)
    if material is None:
        return found
    over_all, items = check_validation(
        model, material / VALIDATION, spread, material / FOUND / file.name
    )
    timing = file.index.latency
    call = _first(inputs, 1 if file.batch == 1 else timing.batch_size)
    clock = partial(time_calls, budget_s=timing.budget_s)
    found = replace(
        found,
        difference=max(difference, over_all),
        items=items,
        parameters=count_parameters(run) if isinstance(run, nn.Module) else None,
        latency=clock(partial(run, call)),
    )
    return _with_baseline(found, file.kind, material, call, clock)


def _guarded(name: str, what: str, do: Callable[[], Any]) -> Any:
    """Do something in a runtime, whose errors share no class."""
    try:
        return do()
    except AutocompressError:
        raise
    except Exception as error:
        raise VerificationError(one_line(f"{name} can't be {what}: {error}")) from error


def _with_baseline(
    found: Check,
    kind: type[Format] | None,
    material: Path,
    call: Tensor,
    clock: Callable[[Callable[[], Any]], Times],
) -> Check:
    """Time the uncompressed model in the same runtime, where it was written for that.

    It is there for comparison only: what goes wrong with it is noted, and fails no file.
    """
    path = None if kind is None else material / BASELINE / FORMATS[kind.baseline].filename
    if kind is None or path is None or not path.exists():
        return found
    what = f"the uncompressed model, as {path.name},"
    try:
        run = _guarded(what, "opened", partial(FORMATS[kind.baseline].read, path))
        times = _guarded(what, "timed", lambda: clock(partial(run, call)))
    except AutocompressError as error:
        return replace(found, baseline_failed=str(error))
    return replace(found, baseline_latency=times)


def time_calls(call: Callable[[], Any], *, budget_s: float) -> Times:
    """Time repeated calls on the CPU: warmed up, in blocks, with the device to itself.

    Args:
        call: what to time.
        budget_s: seconds that it may take.
    """
    with DeviceLock(torch.device("cpu")).exclusive():
        outcome = sample(timed_by_clock(call), Effort(budget_s=budget_s))
    p10, p50, p90 = percentiles_ms(outcome.candidate)
    return Times(
        p10_ms=p10,
        p50_ms=p50,
        p90_ms=p90,
        n=sum(len(block.samples_ms) for block in outcome.candidate),
        contention=outcome.contention,
        flag=outcome.flag,
    )


def _first(inputs: Tensor, count: int) -> Tensor:
    """Return ``count`` inputs, some of them again where there are fewer."""
    repeats = -(-count // len(inputs))
    return inputs.repeat(repeats, *[1] * (inputs.ndim - 1))[:count].contiguous()


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a bundle; returns 0 where all is well, 1 with the reasons on stderr else."""
    parser = argparse.ArgumentParser(prog="python -m autocompress.bundles.verify")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--allow", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--material", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    try:
        report = verify(options.bundle, options.material, allow=options.allow)
    except AutocompressError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps({name: check.to_dict() for name, check in report.items()}, indent=2)
    if options.report is None:
        sys.stdout.write(f"{text}\n")
    else:
        options.report.write_text(text, encoding="utf-8")
    failed = [check.failed for check in report.values() if check.failed]
    sys.stderr.writelines(f"{reason}\n" for reason in failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
