"""From labels to units: which indices of which tensors carry the same label."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress.graph.plan import Axis
from autocompress.graph.propagation import Propagation

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """Units with the same members and the same reasons.

    Attributes:
        indices: for each tensor and dimension, int64 ``[units, k]``.
        reasons: why removing them is not exact.
    """

    indices: Mapping[Axis, Tensor]
    reasons: tuple[str, ...]


def settle_raw_parameters(p: Propagation) -> None:
    """Give raw parameters an axis, or fix what is no whole slice of one (changes ``p``).

    A parameter that is read both as a layer's weight and element by element stays.
    """
    used_as_weights = {tensor for tensor, _ in p.axes}
    for tensor, labels in p.elements.items():
        if tensor in used_as_weights:
            reason = f"{tensor} is both a layer's weight and read element by element"
            p.labels.fix(labels, reason)
            for (name, _), axis in p.axes.items():
                if name == tensor:
                    p.labels.fix(axis, reason)
    settled = False
    while not settled:  # fixing a unit can break the slices of another parameter
        broken = [t for t, labels in p.elements.items() if not _settle(p, t, labels)]
        settled = not broken


def _settle(p: Propagation, tensor: str, labels: Tensor) -> bool:
    """Return whether a parameter's units are whole slices of one axis, else fix them."""
    units = p.labels.units(labels)
    if not bool(units.any()):
        return True
    dim = _axis(units)
    if dim is None:
        p.labels.fix(labels, f"elements of {tensor} that are no slice of it")
        return False
    p.axes[tensor, dim] = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)[:, 0]
    p.roles[tensor, dim] = "raw"
    return True


def _axis(units: Tensor) -> int | None:
    """Return the dimension whose slices have one unit each, if there is one."""
    for dim, size in enumerate(units.shape):
        rows = units.movedim(dim, 0).reshape(size, -1)
        if size > 1 and bool((rows == rows[:, :1]).all()):
            return dim
    return 0 if units.numel() == 1 and units.dim() else None


def grouped(p: Propagation, reasons: Mapping[int, tuple[str, ...]]) -> Iterator[Members]:
    """Collect units and group those that cut the same tensors alike, in forward order.

    Args:
        p: a finished propagation.
        reasons: unit (its label) to why its removal is not exact.
    """
    axes = list(p.axes)
    unit, axis, index = _entries(p, axes)
    starts = np.flatnonzero(np.r_[True, unit[1:] != unit[:-1]]) if len(unit) else np.array([], int)
    stops = np.r_[starts[1:], len(unit)][: len(starts)]
    groups: dict[tuple[bytes, tuple[str, ...]], list[int]] = {}
    for number, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        key = (axis[start:stop].tobytes(), reasons.get(int(unit[start]), ()))
        groups.setdefault(key, []).append(number)
    ordered = sorted(groups.items(), key=lambda item: _first(item[0][0], axes, p))
    for (signature, why), numbers in ordered:
        pattern = np.frombuffer(signature, axis.dtype)
        rows = index[starts[numbers][:, None] + np.arange(len(pattern))]
        order = np.argsort(rows[:, 0], kind="stable")
        rows = torch.from_numpy(rows[order])
        yield Members({axes[a]: rows[:, pattern == a] for a in np.unique(pattern)}, why)


def _first(signature: bytes, axes: list[Axis], p: Propagation) -> int:
    """Order groups by their first weight in forward order."""
    found = np.frombuffer(signature, np.int64)
    weights = [int(a) for a in found if p.roles[axes[a]] == "weight"]
    return min(weights) if weights else int(found.min())


def _entries(p: Propagation, axes: list[Axis]) -> tuple[IntArray, IntArray, IntArray]:
    """Return (unit, axis number, index) of every removable index, sorted in that order."""
    units = [p.labels.units(p.axes[axis]).numpy() for axis in axes]
    if not units:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    unit = np.concatenate(units)
    axis = np.concatenate([np.full(len(u), number) for number, u in enumerate(units)])
    index = np.concatenate([np.arange(len(u)) for u in units])
    keep = unit != 0
    unit, axis, index = unit[keep], axis[keep].astype(np.int64), index[keep]
    order = np.lexsort((index, axis, unit))
    return unit[order], axis[order], index[order]
