"""Small networks for small images, with something to compress for every technique."""

from collections.abc import Sequence

from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.registry import by_name

POOLED = 2  # side of the feature map that vgg_small's linear layers see, in pixels


def vgg_small(
    *,
    num_classes: int,
    channels: int = 3,
    widths: Sequence[int] = (32, 64),
    layers_per_stage: int = 2,
    hidden: int = 1024,
    dropout: float = 0.5,
) -> nn.Sequential:
    """A VGG with batch norm (Simonyan & Zisserman 2015) for images of 8 to 64 pixels.

    Stages of 3x3 convolutions, each stage ending in 2x2 max pooling, then adaptive pooling to
    2x2, two wide linear layers with dropout, and the output layer. Images need a side of at
    least ``2 ** len(widths)`` pixels.

    Args:
        num_classes: outputs, at least 1.
        channels: channels of the images, at least 1.
        widths: channels of each stage's convolutions.
        layers_per_stage: convolutions in each stage.
        hidden: width of the two linear layers.
        dropout: probability in [0, 1) with which their outputs are dropped in training.

    Returns:
        A model from images [n, channels, side, side] to logits [n, num_classes].
    """
    _check_sizes(
        num_classes=num_classes,
        channels=channels,
        layers_per_stage=layers_per_stage,
        hidden=hidden,
    )
    _check_widths(widths)
    features: list[nn.Module] = []
    width_in = channels
    for width in widths:
        for _ in range(layers_per_stage):
            features += [
                nn.Conv2d(width_in, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            width_in = width
        features.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        nn.Linear(width_in * POOLED**2, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*features))
    model.add_module("pool", nn.AdaptiveAvgPool2d(POOLED))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", classifier)
    _initialise(model)
    return model


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the basic block of He et al. 2016, figure 2.

    Args:
        width_in: channels of the input.
        width: channels of the output.
        stride: stride of the first convolution; the shortcut is a 1x1 convolution with the same
            stride where the shape changes, and the input itself otherwise.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.activation = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [n, width_in, h, w] to [n, width, ceil(h / stride), ceil(w / stride)]."""
        hidden = self.activation(self.norm1(self.conv1(inputs)))
        added: Tensor = self.norm2(self.conv2(hidden)) + self.shortcut(inputs)
        return nn.functional.relu(added)


def resnet_small(
    *,
    num_classes: int,
    channels: int = 3,
    widths: Sequence[int] = (16, 32, 64),
    blocks_per_stage: int = 2,
) -> nn.Sequential:
    """A residual net of basic blocks (He et al. 2016, section 4.2) for images around 32 pixels.

    With its defaults it is their ResNet-14 for CIFAR, but for 1x1 convolutions as shortcuts where
    the shape changes.

    Args:
        num_classes: outputs, at least 1.
        channels: channels of the images, at least 1.
        widths: channels of each stage; every stage but the first halves the resolution.
        blocks_per_stage: residual blocks in each stage.

    Returns:
        A model from images [n, channels, side, side] to logits [n, num_classes].
    """
    _check_sizes(num_classes=num_classes, channels=channels, blocks_per_stage=blocks_per_stage)
    _check_widths(widths)
    stem = nn.Sequential(
        nn.Conv2d(channels, widths[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
    )
    blocks: list[nn.Module] = []
    width_in = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks_per_stage):
            stride = 2 if stage > 0 and block == 0 else 1
            blocks.append(ResidualBlock(width_in, width, stride))
            width_in = width
    model = nn.Sequential()
    model.add_module("stem", stem)
    model.add_module("blocks", nn.Sequential(*blocks))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Linear(width_in, num_classes))
    _initialise(model)
    return model


def _initialise(model: nn.Module) -> None:
    """Draw convolutions as in He et al. 2015, equation 10, with fan-out, in place."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _check_sizes(**sizes: int) -> None:
    wrong = [f"{name} = {size!r}" for name, size in sizes.items() if not _is_size(size)]
    if wrong:
        raise ConfigurationError(f"expected integers of at least 1, not {', '.join(wrong)}")


def _check_widths(widths: Sequence[int]) -> None:
    if not widths or not all(_is_size(width) for width in widths):
        raise ConfigurationError(
            f"widths: expected one integer of at least 1 per stage, such as [32, 64], "
            f"not {widths!r}"
        )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


NETWORKS = by_name("network of autocompress", vgg_small, resnet_small)
