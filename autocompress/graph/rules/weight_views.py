"""Rearrangements of a weight that keep each of its dimensions a selection of the original's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from autocompress.graph.activations import WeightAxes
from autocompress.graph.propagation import WeightView

Arguments = Mapping[str, Any]


def _reversed(axes: WeightAxes, _: Arguments) -> WeightAxes:
    return axes[::-1]


def _transposed(axes: WeightAxes, args: Arguments) -> WeightAxes:
    swapped = list(axes)
    a, b = args["dim0"], args["dim1"]
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return tuple(swapped)


def _permuted(axes: WeightAxes, args: Arguments) -> WeightAxes:
    return tuple(axes[dim] for dim in args["dims"])


def _sliced(axes: WeightAxes, args: Arguments) -> WeightAxes:
    axis = axes[args["dim"]]
    index = axis.index[slice(args["start"], args["end"], args["step"])]
    return _with(axes, args["dim"], index)


def _split(axes: WeightAxes, args: Arguments) -> list[WeightAxes]:
    sizes = args.get("split_size", args.get("split_sizes"))
    parts = torch.split(axes[args["dim"]].index, sizes)
    return [_with(axes, args["dim"], part) for part in parts]


def _chunked(axes: WeightAxes, args: Arguments) -> list[WeightAxes]:
    parts = torch.chunk(axes[args["dim"]].index, args["chunks"])
    return [_with(axes, args["dim"], part) for part in parts]


def _item(parts: Any, args: Arguments) -> Any:
    return parts[args["1"]] if isinstance(parts, list) else None


def _same(axes: WeightAxes, _: Arguments) -> WeightAxes:
    return axes


def _with(axes: WeightAxes, dim: int, index: torch.Tensor) -> WeightAxes:
    changed = list(axes)
    changed[dim] = replace(changed[dim], index=index)
    return tuple(changed)


WEIGHT_VIEWS: Mapping[str, WeightView] = {
    "t": _reversed,
    "numpy_T": _reversed,
    "transpose": _transposed,
    "permute": _permuted,
    "slice": _sliced,
    "split": _split,
    "split_with_sizes": _split,
    "chunk": _chunked,
    "getitem": _item,
    "contiguous": _same,
    "detach": _same,
    "alias": _same,
}
