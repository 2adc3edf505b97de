"""Two thinner layers in the place of one: the shapes, strides and paddings of a factorization."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import UsageError
from autocompress.graph.plan import LowRank


def low_rank_layers(
    layer: nn.Module, step: LowRank, factors: tuple[Tensor, ...] | None
) -> nn.Sequential:
    """Return the two layers that replace one; the second has the old bias.

    Args:
        layer: a linear layer or a 2-D convolution without groups.
        step: kind and rank.
        factors: the two weights, or None for uninitialised ones.

    Raises:
        UsageError: the kind does not fit the layer, or the factors' shapes don't fit the step.
    """
    device, dtype = _place(layer, step)
    _check_rank(layer, step)
    first, second = _PAIRS[step.kind](layer, step)
    for part in (first, second):
        part.to_empty(device=device).to(dtype)
    if factors is not None:
        _fill((first, second), factors, step)
    bias = layer.bias
    if isinstance(bias, nn.Parameter):
        second.bias = bias
    for part in (first, second):
        _weight(part).requires_grad_(_weight(layer).requires_grad)
    return nn.Sequential(first, second)


def _weight(layer: nn.Module) -> nn.Parameter:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _place(layer: nn.Module, step: LowRank) -> tuple[torch.device, torch.dtype]:
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter):
        raise UsageError(f"{step.module} ({type(layer).__name__}) has no weight of its own")
    return weight.device, weight.dtype


def _check_rank(layer: nn.Module, step: LowRank) -> None:
    """Refuse a rank that no matrix of the layer has: it would be larger than it was."""
    weight = _weight(layer)
    if step.rank > weight.numel() // max(1, min(weight.shape)):
        raise UsageError(
            f"{step.module} has a weight of shape {list(weight.shape)}: rank {step.rank} is more "
            "than it can have"
        )


def _fill(layers: tuple[nn.Module, nn.Module], factors: tuple[Tensor, ...], step: LowRank) -> None:
    expected = [list(layer.weight.shape) for layer in layers if isinstance(layer.weight, Tensor)]
    found = [list(factor.shape) for factor in factors]
    if expected != found:
        raise UsageError(f"factors of {step.module} must have shapes {expected}, not {found}")
    with torch.no_grad():
        for layer, factor in zip(layers, factors, strict=True):
            _weight(layer).copy_(factor)


def _linear(layer: nn.Module, step: LowRank) -> tuple[nn.Module, nn.Module]:
    if not isinstance(layer, nn.Linear):
        raise _misfit(layer, step, "a linear layer")
    options: dict[str, Any] = {"bias": False, "device": "meta"}
    return (
        nn.Linear(layer.in_features, step.rank, **options),
        nn.Linear(step.rank, layer.out_features, **options),
    )


def _convolution(layer: nn.Module, step: LowRank) -> nn.Conv2d:
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        raise _misfit(layer, step, "a 2-D convolution without groups")
    return layer


def _channel(layer: nn.Module, step: LowRank) -> tuple[nn.Module, nn.Module]:
    conv = _convolution(layer, step)
    first = nn.Conv2d(
        conv.in_channels,
        step.rank,
        _pair(conv.kernel_size),
        stride=_pair(conv.stride),
        padding=_padding(conv),
        dilation=_pair(conv.dilation),
        padding_mode=conv.padding_mode,
        bias=False,
        device="meta",
    )
    return first, nn.Conv2d(step.rank, conv.out_channels, 1, bias=False, device="meta")


def _pointwise(layer: nn.Module, step: LowRank) -> tuple[nn.Module, nn.Module]:
    if tuple(_convolution(layer, step).kernel_size) != (1, 1):
        raise _misfit(layer, step, "a 1x1 convolution")
    return _channel(layer, step)


def _spatial(layer: nn.Module, step: LowRank) -> tuple[nn.Module, nn.Module]:
    conv = _convolution(layer, step)
    padding = _padding(conv)
    rows, columns = (
        (padding, padding)
        if isinstance(padding, str)
        else (
            (padding[0], 0),
            (0, padding[1]),
        )
    )
    options: dict[str, Any] = {
        "padding_mode": conv.padding_mode,
        "bias": False,
        "device": "meta",
    }
    first = nn.Conv2d(
        conv.in_channels,
        step.rank,
        (conv.kernel_size[0], 1),
        stride=(conv.stride[0], 1),
        padding=rows,
        dilation=(conv.dilation[0], 1),
        **options,
    )
    second = nn.Conv2d(
        step.rank,
        conv.out_channels,
        (1, conv.kernel_size[1]),
        stride=(1, conv.stride[1]),
        padding=columns,
        dilation=(1, conv.dilation[1]),
        **options,
    )
    return first, second


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return value[0], value[1]


def _padding(conv: nn.Conv2d) -> str | tuple[int, int]:
    return conv.padding if isinstance(conv.padding, str) else _pair(conv.padding)


def _misfit(layer: nn.Module, step: LowRank, expected: str) -> UsageError:
    return UsageError(
        f"{step.module}: kind {step.kind!r} needs {expected}, not {type(layer).__name__}"
    )


_PAIRS: Mapping[str, Callable[[nn.Module, LowRank], tuple[nn.Module, nn.Module]]] = {
    "linear": _linear,
    "pointwise": _pointwise,
    "spatial": _spatial,
    "channel": _channel,
}
