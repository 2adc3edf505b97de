"""The two layers of a model that depend on the data: its first convolution and its head."""

import logging

from torch import nn

from autocompress.errors import ConfigurationError

logger = logging.getLogger(__name__)


def find_head(model: nn.Module) -> str | None:
    """Name the layer that makes the logits: the last linear or 1x1 convolution defined.

    None where the model has neither.
    """
    names = [name for name, module in model.named_modules() if _can_be_head(module)]
    return names[-1] if names else None


def find_stem(model: nn.Module) -> str | None:
    """Name the layer that reads the images: the first convolution defined.

    None where the model has no two-dimensional convolution.
    """
    convolutions = (name for name, m in model.named_modules() if isinstance(m, nn.Conv2d))
    return next(convolutions, None)


def _can_be_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )


def fit_head(model: nn.Module, num_classes: int) -> None:
    """Give the model ``num_classes`` outputs by replacing its head where it has others, in place.

    The new layer's weights are random; a message says which layer it is. A model without a linear
    layer or 1x1 convolution is left as it is.
    """
    name = find_head(model)
    if name is None:
        return
    old = model.get_submodule(name)
    width = old.out_features if isinstance(old, nn.Linear) else old.out_channels
    if width == num_classes:
        return
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        assert isinstance(old, nn.Conv2d)
        new = _convolution_like(old, old.in_channels, num_classes)
    model.set_submodule(name, new)
    logger.warning(
        "replaced layer %s: it had %s outputs, the data has %d classes", name, width, num_classes
    )


def fit_stem(model: nn.Module, channels: int) -> None:
    """Let the model read ``channels`` channels by replacing its first convolution, in place.

    Nothing happens where it reads them already, or has no convolution. The new weights are random;
    a message says which layer it is.

    Raises:
        ConfigurationError: the model's first convolution reads other channels and is grouped.
    """
    name = find_stem(model)
    if name is None:
        return
    old = model.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    if old.in_channels == channels:
        return
    if old.groups != 1:
        raise ConfigurationError(
            f"the model's first convolution, {name}, reads {old.in_channels} channels in "
            f"{old.groups} groups and the images have {channels}; let its function take channels"
        )
    model.set_submodule(name, _convolution_like(old, channels, old.out_channels))
    logger.warning(
        "replaced layer %s: it read %d channels, the images have %d",
        name,
        old.in_channels,
        channels,
    )


def _convolution_like(old: nn.Conv2d, channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel_size=old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        dilation=old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
