"""A batch norm as part of the layer before or after it: the arithmetic of folding.

In eval mode a batch norm is ``y = s * x + t`` for each channel, with
``s = weight / sqrt(running_var + eps)`` and ``t = bias - s * running_mean``
(Ioffe & Szegedy 2015, eq. in section 3.1).
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from autocompress.errors import UsageError
from autocompress.graph.plan import Fold


def fold_tensors(layer: nn.Module, norm: nn.Module, step: Fold) -> nn.Module:
    """Fold a batch norm into a layer's weight and bias, in place.

    Returns:
        What takes the norm's place: an identity, or what the norm's module does after normalising
        (such as the activation of a norm with one).

    Raises:
        UsageError: types that don't fold, or a padding that would see the norm's shift.
    """
    if not isinstance(layer, _ConvNd | nn.Linear):
        raise UsageError(
            f"{step.convolution} must be a convolution or a linear layer, "
            f"not {type(layer).__name__}"
        )
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise UsageError(
            f"{step.norm} must be a batch norm with running statistics, not {type(norm).__name__}"
        )
    scale, shift = scale_and_shift(norm)
    if step.order == "after":
        _fold_after(layer, scale, shift, step)
    else:
        _fold_before(layer, scale, shift, step)
    return what_follows(norm)


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return a batch norm in eval mode as float64 factors and offsets, both ``[channels]``."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics is no fixed affine map")
    scale = (norm.running_var.detach().double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -scale * norm.running_mean.detach().double()
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def what_follows(norm: _BatchNorm) -> nn.Module:
    """Return the children of a norm's module, in order: they run after the normalisation."""
    children = [c for c in norm.children() if not isinstance(c, nn.Identity)]
    if not children:
        return nn.Identity()
    return children[0] if len(children) == 1 else nn.Sequential(*children)


def _fold_after(layer: _ConvNd | nn.Linear, scale: Tensor, shift: Tensor, step: Fold) -> None:
    weight = layer.weight.detach().double()
    if isinstance(layer, _ConvNd) and layer.transposed:  # [in, out / groups, ...]
        blocks = weight.reshape(layer.groups, -1, *weight.shape[1:])
        by_group = scale.reshape(layer.groups, 1, -1)
        _expect(layer.out_channels, scale, step)
        new = (blocks * _over(by_group, blocks)).flatten(0, 1)
    else:
        _expect(weight.shape[0], scale, step)
        new = weight * _over(scale, weight)
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    _store(layer, new, bias * scale + shift)


def _fold_before(layer: _ConvNd | nn.Linear, scale: Tensor, shift: Tensor, step: Fold) -> None:
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Linear):
        blocks, groups = weight[None], 1
    else:
        if layer.transposed or pads_with_zeros(layer):
            raise UsageError(
                f"{step.norm} cannot be folded into {step.convolution}: a transposed or "
                "zero-padded convolution would not see the norm's shift everywhere"
            )
        groups = layer.groups
        blocks = weight.reshape(groups, -1, *weight.shape[1:])
    _expect(groups * blocks.shape[2], scale, step)
    by_group = scale.reshape(groups, 1, -1)
    moved = blocks.flatten(3).sum(3) if blocks.dim() > 3 else blocks
    added = (moved * shift.reshape(groups, 1, -1)).sum(2).flatten()
    new = (blocks * _over(by_group, blocks)).reshape(weight.shape)
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    _store(layer, new, bias + added)


def pads_with_zeros(layer: _ConvNd) -> bool:
    """Return whether a convolution sees zeros that its input does not hold."""
    if layer.padding_mode != "zeros" or layer.padding == "valid":
        return False
    if layer.padding == "same":
        return any(k > 1 for k in layer.kernel_size)
    return any(p != 0 for p in layer.padding)


def _over(values: Tensor, target: Tensor) -> Tensor:
    return values.reshape(*values.shape, *[1] * (target.dim() - values.dim()))


def _expect(channels: int, scale: Tensor, step: Fold) -> None:
    if channels != scale.numel():
        raise UsageError(
            f"{step.norm} has {scale.numel()} channels but {step.convolution} has {channels}"
        )


def _store(layer: _ConvNd | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    dtype = layer.weight.dtype
    with torch.no_grad():
        layer.weight = nn.Parameter(
            weight.to(dtype).contiguous(), requires_grad=layer.weight.requires_grad
        )
        layer.bias = nn.Parameter(
            bias.to(dtype).contiguous(), requires_grad=layer.weight.requires_grad
        )
