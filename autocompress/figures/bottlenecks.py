"""Why a compressed model is not faster: from the profile of its layers to plain sentences.

The rules, for a layer that takes t ms, does m multiply-accumulates and moves b bytes (inputs,
outputs and weights, once each):

- **call overhead**: the smallest layer of its kind takes at least half of t. Removing more of
  its weights cannot make it twice as fast.
- **memory traffic**: its arithmetic intensity m / b is below P / B, and it moves at least half of
  B bytes a second, where P and B are the most multiply-accumulates and the most bytes a second
  that any layer of either model reached. Even at that bandwidth it could not reach P (the
  roofline of Williams et al. 2009, with the layers' own best as the roofs). Both roofs are lower
  bounds of what the machine can do.
- **slower kernel**: it does less than three quarters of the multiply-accumulates a second that
  the same layer did before, and is neither of the above.

Widths that changed and are not multiples of 8 are named besides: most kernels work on 8 or more
channels at once and leave the rest of the last group idle.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from autocompress.metrics.formatting import format_value, percent
from autocompress.metrics.metric import LATENCY
from autocompress.results import LayerProfile, LayerWork

Bound = Literal["call overhead", "memory traffic", "slower kernel"]

OVERHEAD_SHARE = 0.5  # of the time of a layer
BANDWIDTH_SHARE = 0.5  # of the best layer's bytes a second
SPEED_SHARE = 0.75  # of the multiply-accumulates a second before
MULTIPLE = 8  # channels that kernels work on at once
LEAST_SHARE = 0.02  # of the candidate's time: smaller layers get no sentence


def bounds(profile: Sequence[LayerProfile]) -> dict[str, Bound | None]:
    """Return for each layer that is left what it is bound by; ``None``: by its arithmetic.

    Args:
        profile: of a trial, as ``TrialFiles.profile``.
    """
    measured = [work for row in profile for work in (row.before, row.after) if work]
    if not measured:
        return {}
    best_macs = max(_per_ms(work, "macs") for work in measured)
    best_bytes = max(_per_ms(work, "bytes") for work in measured)
    return {
        row.name: _bound(row.before, row.after, best_macs, best_bytes)
        for row in profile
        if row.after
    }


def _bound(
    before: LayerWork | None, after: LayerWork, best_macs: float, best_bytes: float
) -> Bound | None:
    if after.overhead_ms >= OVERHEAD_SHARE * after.ms:
        return "call overhead"
    starved = after.macs * best_bytes < best_macs * after.bytes
    if starved and _per_ms(after, "bytes") >= BANDWIDTH_SHARE * best_bytes:
        return "memory traffic"
    if before and _per_ms(after, "macs") < SPEED_SHARE * _per_ms(before, "macs"):
        return "slower kernel"
    return None


def _per_ms(work: LayerWork, what: Literal["macs", "bytes"]) -> float:
    return (work.macs if what == "macs" else work.bytes) / max(work.ms, 1e-9)


def diagnosis(profile: Sequence[LayerProfile]) -> Iterator[str]:
    """Say in sentences where the candidate's time goes and why it is not less.

    Args:
        profile: of a trial, as ``TrialFiles.profile``; nothing is said about an empty one.
    """
    left = [(row, row.after) for row in profile if row.after]
    total = sum(after.ms for _, after in left)
    if not left:
        return
    before = sum(row.before.ms for row in profile if row.before)
    yield (
        f"layers with weights: {_time(total)} of {_time(before)} are left, with "
        f"{percent(_macs_left(profile), 0)} of the multiply-adds"
    )
    found = bounds(profile)
    overhead = sum(after.overhead_ms for _, after in left)
    mostly_calls = overhead >= OVERHEAD_SHARE * total
    if mostly_calls:
        yield (
            f"calling {len(left)} layers takes {percent(min(overhead / total, 1), 0)} of that, "
            "however small they are: fewer layers, larger batches, or a runtime with less "
            "overhead would help, removing weights would not"
        )
    for row, after in sorted(left, key=lambda pair: -pair[1].ms):
        bound = found[row.name]
        is_said = mostly_calls and bound == "call overhead"
        if after.ms >= LEAST_SHARE * total and not is_said:
            yield from _about(row, after, bound)


def _time(ms: float) -> str:
    return format_value(LATENCY, ms)


def _macs_left(profile: Sequence[LayerProfile]) -> float:
    before = sum(row.before.macs for row in profile if row.before)
    after = sum(row.after.macs for row in profile if row.after)
    return after / before if before else 1.0


def _about(row: LayerProfile, after: LayerWork, bound: Bound | None) -> Iterator[str]:
    name, before = row.name, row.before
    units = "outputs" if row.type == "Linear" else "channels"
    if odd := _odd_width(before.widths if before else (), after.widths, units):
        yield f"{name}: {odd}"
    if bound == "call overhead":
        yield f"{name}: {_time(after.ms)}, mostly call overhead"
    elif bound == "memory traffic":
        intensity = after.macs / after.bytes
        yield (
            f"{name}: {_time(after.ms)}, bound by memory traffic: {intensity:.1f} "
            "multiply-adds per byte"
        )
    elif bound == "slower kernel" and before:
        yield (
            f"{name}: {percent(after.macs / before.macs, 0)} of the multiply-adds take "
            f"{percent(after.ms / before.ms, 0)} of the time: {_speed(after)} GMAC/s, "
            f"{_speed(before)} before"
        )


def _speed(work: LayerWork) -> str:
    return f"{_per_ms(work, 'macs') / 1e6:.2g}"


def _odd_width(before: Sequence[int], after: Sequence[int], units: str) -> str | None:
    """Describe the widths that changed and do not fill whole groups of channels."""
    if before == after:
        return None
    if len(after) > 1:
        odd = [width for width in after if width % MULTIPLE and width not in before]
        ranks = " and ".join(map(str, odd))
        return f"rank {ranks}: not a multiple of {MULTIPLE}" if odd else None
    odd = [width for width in after if width % MULTIPLE]
    if not odd or not before:
        return None
    return f"{odd[0]} of {before[0]} {units}: {odd[0]} is not a multiple of {MULTIPLE}"
