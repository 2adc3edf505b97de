"""Tiny nets, each with one thing that makes exact removal hard."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """Modules by name and a forward pass as a function."""

    def __init__(self, forward: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args: Tensor) -> object:
        return self.run(self, *args)


def conv(a, b, k=3, **options):
    return nn.Conv2d(a, b, k, padding=k // 2, **options)


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def residual():
    def forward(m, x):
        y = torch.relu(m.b1(m.c1(x)))
        return m.head(torch.relu(y + m.b3(m.c3(torch.relu(m.b2(m.c2(y)))))))

    return Net(
        forward,
        c1=conv(3, 12), b1=nn.BatchNorm2d(12), c2=conv(12, 9), b2=nn.BatchNorm2d(9),
        c3=conv(9, 12), b3=nn.BatchNorm2d(12), head=head(12),
    )  # fmt: skip


def in_place_residual():
    def forward(m, x):
        y = m.c1(x).relu_()
        y += m.c3(F.relu(m.c2(y), inplace=True))
        return m.head(y.relu_())

    return Net(forward, c1=conv(3, 12), c2=conv(12, 9), c3=conv(9, 12), head=head(12))


def concatenation():
    def forward(m, x):
        a, b = m.c1(x), m.c2(x)
        c = m.c3(F.relu(m.norm(torch.cat([a, b, x], 1))))
        return m.head(torch.cat([b, c, a], 1))

    return Net(
        forward,
        c1=conv(3, 6), c2=conv(3, 9), c3=conv(18, 6), norm=nn.BatchNorm2d(18), head=head(21),
    )  # fmt: skip


def depthwise():
    return nn.Sequential(
        conv(3, 12), nn.BatchNorm2d(12), nn.ReLU6(), conv(12, 12, groups=12), nn.BatchNorm2d(12),
        nn.ReLU6(), conv(12, 24, groups=12), nn.Hardswish(), conv(24, 6, 1), head(6),
    )  # fmt: skip


def grouped():
    return nn.Sequential(
        conv(3, 12), nn.ReLU(), conv(12, 24, groups=3), nn.BatchNorm2d(24), nn.ReLU(),
        conv(24, 12, groups=3), nn.ReLU(), head(12),
    )  # fmt: skip


def channel_shuffle():
    def forward(m, x):
        x = m.c1(x)
        n, c, h, w = x.shape
        x = x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.head(F.relu(m.c2(x)))

    return Net(forward, c1=conv(3, 32, 1), c2=conv(32, 12, groups=4), head=head(12))


def native_channel_shuffle():
    return nn.Sequential(
        conv(3, 32, 1), nn.ChannelShuffle(4), nn.ReLU(), conv(32, 12, groups=4), head(12)
    )


def chunked():
    def forward(m, x):
        a, b = m.c1(x).chunk(2, 1)
        return m.head(torch.cat([a, F.relu(m.c2(b))], 1))

    return Net(forward, c1=conv(3, 16), c2=conv(8, 10), head=head(18))


def gated_halves():
    return nn.Sequential(conv(3, 16), nn.GLU(1), conv(8, 12), nn.ReLU(), head(12))


def squeeze_excitation():
    def forward(m, x):
        x = F.silu(m.norm(m.c1(x)))
        gate = m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1)))).sigmoid()
        return m.head(m.c2(x * gate))

    return Net(
        forward,
        c1=conv(3, 16), norm=nn.BatchNorm2d(16), down=conv(16, 6, 1), up=conv(6, 16, 1),
        c2=conv(16, 8), head=head(8),
    )  # fmt: skip


def sigmoid_before_convolution():
    return nn.Sequential(conv(3, 12), nn.Sigmoid(), conv(12, 8), nn.ReLU(), head(8))


def constant_before_linear():
    def forward(m, x):
        return m.out(F.relu(m.hidden(x.flatten(1)) + 1.0))

    return Net(forward, hidden=nn.Linear(12, 10), out=nn.Linear(10, 5))


def transposed():
    return nn.Sequential(
        conv(3, 12), nn.ReLU(), nn.ConvTranspose2d(12, 9, 2, stride=2), nn.BatchNorm2d(9),
        nn.ReLU(),
        nn.ConvTranspose2d(9, 9, 2, stride=2, groups=9), nn.ReLU(), head(9),
    )  # fmt: skip


def flattened():
    return nn.Sequential(
        conv(3, 12), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 64, 20), nn.ReLU(), nn.Linear(20, 5)
    )


class LayerScale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        return x * self.gamma


def layer_scale():
    return nn.Sequential(conv(3, 12), LayerScale(12), nn.ReLU(), conv(12, 8), head(8))


def instance_norm():
    return nn.Sequential(
        conv(3, 12), nn.InstanceNorm2d(12, affine=True), nn.ReLU(), conv(12, 8),
        nn.GroupNorm(8, 8), nn.ReLU(), head(8),
    )  # fmt: skip


def norm_without_affine():
    return nn.Sequential(conv(3, 12), nn.BatchNorm2d(12, affine=False), conv(12, 8), head(8))


def group_norm():
    return nn.Sequential(conv(3, 12), nn.GroupNorm(3, 12), nn.ReLU(), conv(12, 8), head(8))


def layer_norm():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 8), nn.GELU(),
        nn.Linear(8, 5),
    )  # fmt: skip


def tied_modules():
    shared = conv(12, 12)
    return nn.Sequential(conv(3, 12), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), head(12))


def tied_weights():
    first, second = nn.Linear(12, 16), nn.Linear(16, 12, bias=False)
    second.weight = nn.Parameter(torch.rand(12, 16))
    third = nn.Linear(16, 12, bias=False)
    third.weight = second.weight

    def forward(m, x):
        h = F.relu(m.first(x.flatten(1)))
        return m.out(m.second(h) + m.third(h * 2))

    return Net(forward, first=first, second=second, third=third, out=nn.Linear(12, 5))


def tied_transposed():
    def forward(m, x):
        return m.out(F.linear(F.relu(m.first(x.flatten(1))), m.first.weight.t()))

    return Net(forward, first=nn.Linear(12, 16), out=nn.Linear(12, 5))


def weight_standardised():
    def forward(m, x):
        weight = m.c1.weight - m.c1.weight.mean((1, 2, 3), keepdim=True)
        return m.head(F.relu(m.c2(F.relu(F.conv2d(x, weight, padding=1)))))

    return Net(forward, c1=conv(3, 12, bias=False), c2=conv(12, 8), head=head(8))


def literal_split():
    def forward(m, x):
        a, b = m.c1(x).split([5, 11], 1)
        return m.head(F.relu(m.c2(b))) + m.side(a.mean((2, 3)))

    return Net(
        forward, c1=conv(3, 16), c2=conv(11, 8), head=head(8), side=nn.Linear(5, 5)
    )  # fmt: skip


def literal_slice():
    def forward(m, x):
        x = m.c1(x)
        return m.head(F.relu(m.c2(x[:, 5:]))) + m.side(x[:, :5].mean((2, 3)))

    return Net(forward, c1=conv(3, 16), c2=conv(11, 8), head=head(8), side=nn.Linear(5, 5))


def literal_view():
    def forward(m, x):
        return m.out(F.relu(m.c1(x)).view(-1, 12 * 16))

    return Net(forward, c1=conv(3, 12), out=nn.Linear(12 * 16, 5))


class Heads(nn.Module):
    """Attention with its own attributes for sizes."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.inner = width
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attention = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(n, tokens, self.inner))


def _tokens(attention):
    def forward(m, x):
        x = m.embed(x).flatten(2).transpose(1, 2) + m.positions
        x = x + m.attention(m.norm(x))
        return m.out(x.mean(1))

    net = Net(
        forward,
        embed=nn.Conv2d(3, 16, 4, stride=4), norm=nn.LayerNorm(16), attention=attention,
        out=nn.Linear(16, 5),
    )  # fmt: skip
    net.positions = nn.Parameter(torch.randn(1, 4, 16))
    return net


def attention_with_attributes():
    return _tokens(Heads())


class Native(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


def native_attention():
    return _tokens(Native())


def cross_attention():
    def forward(m, x, y):
        out, weights = m.attention(x, y, y)
        return m.out(out), weights

    return Net(forward, attention=nn.MultiheadAttention(16, 4), out=nn.Linear(16, 5))


def encoder_layer():
    return _tokens(nn.TransformerEncoderLayer(16, 4, 24, batch_first=True))


def several_inputs_and_outputs():
    def forward(m, x, y):
        a = F.relu(m.c1(x))
        b = F.relu(m.c2(y) + a)
        return {"first": m.head(m.c3(b)), "second": [a.sum((1, 2, 3)), m.c4(b)]}

    return Net(
        forward, c1=conv(3, 12), c2=conv(3, 12), c3=conv(12, 8), c4=conv(12, 4), head=head(8)
    )


def pixel_shuffle():
    return nn.Sequential(conv(3, 16), nn.PixelShuffle(2), nn.ReLU(), conv(4, 6), head(6))


def parametric_relu():
    return nn.Sequential(conv(3, 12), nn.PReLU(12), conv(12, 8), nn.PReLU(), head(8))


def softmax_over_channels():
    def forward(m, x):
        return m.head(m.c2(m.c1(x).softmax(1)))

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def mean_over_channels():
    def forward(m, x):
        y = F.relu(m.c1(x))
        return m.head(m.c2(y * torch.sigmoid(y.mean(1, keepdim=True))))

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def unknown_operator():
    def forward(m, x):
        return m.out(torch.cumprod(m.hidden(x.flatten(1)), 1))

    return Net(forward, hidden=nn.Linear(12, 10), out=nn.Linear(10, 5))


def written_slice():
    def forward(m, x):
        y = m.c1(x)
        y[:, 2:4] = 1.0
        return m.head(m.c2(y))

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def constant_mask():
    def forward(m, x):
        return m.head(m.c2(m.c1(x) * m.mask))

    net = Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))
    net.register_buffer("mask", torch.rand(12, 1, 1))
    return net


def chosen_by_maximum():
    def forward(m, x):
        y = m.hidden(x.flatten(1))
        return m.out(F.relu(m.other(x.flatten(1)))) * y.argmax(1)[:, None]

    return Net(forward, hidden=nn.Linear(12, 10), other=nn.Linear(12, 8), out=nn.Linear(8, 5))


def written_view():
    def forward(m, x):
        y = m.c1(x)
        y.select(1, 3).fill_(0.5)
        y.view(2, 12, -1)[:, 0].mul_(2.0)
        return m.head(m.c2(y))

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def whole_number_scale():
    def forward(m, x):
        return m.head(m.c2(m.c1(x) * m.levels))

    net = Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))
    net.register_buffer("levels", torch.arange(12).view(12, 1, 1))
    return net


def rolled_channels():
    def forward(m, x):
        return m.head(m.c2(m.c1(x).roll(3, 1)))

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def autocast_region():
    def forward(m, x):
        x = F.relu(m.c1(x))
        with torch.autocast("cpu", enabled=False):
            x = m.c2(x)
        return m.head(x)

    return Net(forward, c1=conv(3, 12), c2=conv(12, 8), head=head(8))


def matrix_parameter():
    def forward(m, x):
        return m.out(F.relu(x.flatten(1) @ m.weight + m.bias))

    net = Net(forward, out=nn.Linear(10, 5))
    net.weight, net.bias = nn.Parameter(torch.randn(12, 10)), nn.Parameter(torch.randn(10))
    return net


def mixed_tokens():
    def forward(m, x):
        x = m.embed(x).flatten(2)
        x = x + m.mix2(F.gelu(m.mix1(x)))
        return m.out(x.mean(2))

    return Net(
        forward,
        embed=conv(3, 12), mix1=nn.Linear(64, 9), mix2=nn.Linear(9, 64), out=nn.Linear(12, 5),
    )  # fmt: skip


def einsum_bilinear():
    def forward(m, x):
        x = F.relu(m.c1(x)).flatten(2)
        return m.out(torch.einsum("ncp,ndp->ncd", x, x).flatten(1))

    return Net(forward, c1=conv(3, 6), out=nn.Linear(36, 5))


IMAGE = (2, 3, 8, 8)
SMALL = (2, 3, 2, 2)

# name: (net, shapes of the inputs, layers that must be removable)
EXACT = {
    "residual": (residual, [IMAGE], {"c1", "c2"}),
    "in_place_residual": (in_place_residual, [IMAGE], {"c1", "c2"}),
    "concatenation": (concatenation, [IMAGE], {"c1", "c2", "c3"}),
    "depthwise": (depthwise, [IMAGE], {"0", "8"}),
    "grouped": (grouped, [IMAGE], {"0", "2", "5"}),
    "channel_shuffle": (channel_shuffle, [IMAGE], {"c1", "c2"}),
    "native_channel_shuffle": (native_channel_shuffle, [IMAGE], {"0", "3"}),
    "chunked": (chunked, [IMAGE], {"c1", "c2"}),
    "gated_halves": (gated_halves, [IMAGE], {"0", "2"}),
    "squeeze_excitation": (squeeze_excitation, [IMAGE], {"c1", "down", "c2"}),
    "transposed": (transposed, [IMAGE], {"0", "2"}),
    "flattened": (flattened, [IMAGE], {"0", "3"}),
    "layer_scale": (layer_scale, [IMAGE], {"0", "3"}),
    "instance_norm": (instance_norm, [IMAGE], {"0", "3"}),
    "layer_norm": (layer_norm, [SMALL], {"4"}),
    "tied_modules": (tied_modules, [IMAGE], {"0"}),
    "tied_weights": (tied_weights, [SMALL], {"first", "second"}),
    "tied_transposed": (tied_transposed, [SMALL], {"first"}),
    "attention_with_attributes": (attention_with_attributes, [IMAGE], {"attention.qkv"}),
    "native_attention": (native_attention, [IMAGE], {"attention.inner"}),
    "cross_attention": (cross_attention, [(5, 2, 16), (7, 2, 16)], {"attention"}),
    "encoder_layer": (encoder_layer, [IMAGE], {"attention.linear1", "attention.self_attn"}),
    "several": (several_inputs_and_outputs, [IMAGE, IMAGE], {"c1", "c3"}),
    "pixel_shuffle": (pixel_shuffle, [IMAGE], {"0", "3"}),
    "parametric_relu": (parametric_relu, [IMAGE], {"0", "2"}),
    "autocast_region": (autocast_region, [IMAGE], {"c1", "c2"}),
    "matrix_parameter": (matrix_parameter, [SMALL], {""}),
}  # fmt: skip

# name: (net, shapes of the inputs, layer that must stay, what the reason must say)
KEPT = {
    "sigmoid_before_convolution": (sigmoid_before_convolution, [IMAGE], "0", r"f\(0\) != 0"),
    "constant_before_linear": (constant_before_linear, [SMALL], "hidden", r"f\(0\) != 0"),
    "norm_without_affine": (norm_without_affine, [IMAGE], "0", r"f\(0\) != 0"),
    "group_norm": (group_norm, [IMAGE], "0", "normalised together"),
    "layer_norm": (layer_norm, [SMALL], "1", "normalised together"),
    "weight_standardised": (weight_standardised, [IMAGE], "c1", "not a layer"),
    "literal_split": (literal_split, [IMAGE], "c1", "unequal parts"),
    "literal_slice": (literal_slice, [IMAGE], "c1", "5 of 16 outputs: cut at a fixed place"),
    "literal_view": (literal_view, [(2, 3, 4, 4)], "c1", "repeats its size"),
    "softmax_over_channels": (softmax_over_channels, [IMAGE], "c1", "softmax"),
    "mean_over_channels": (mean_over_channels, [IMAGE], "c1", "averaged"),
    "unknown_operator": (unknown_operator, [SMALL], "hidden", "cumprod, an operator without"),
    "written_slice": (written_slice, [IMAGE], "c1", "fill_"),
    "constant_mask": (constant_mask, [IMAGE], "c1", "something that stays"),
    "chosen_by_maximum": (chosen_by_maximum, [SMALL], "hidden", "decides something"),
    "written_view": (written_view, [IMAGE], "c1", "by position"),
    "whole_number_scale": (whole_number_scale, [IMAGE], "c1", "something that stays"),
    "rolled_channels": (rolled_channels, [IMAGE], "c1", "by position"),
    "mixed_tokens": (mixed_tokens, [IMAGE], "mix1", "mixes along another axis"),
    "einsum_bilinear": (einsum_bilinear, [IMAGE], "c1", "across axes"),
    "attention_residual": (native_attention, [IMAGE], "embed", "normalised together"),
}  # fmt: skip
