"""Attention in windows whose number of heads and whose widths are free.

The forms of torchvision's Swin (Liu et al. 2021, eq. 4; version 2: Liu et al. 2022, eq. 2 and 3)
and MaxViT (Tu et al. 2022, section 3.1) attentions. Theirs take the inner width from the inputs.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.graph.heads import Heads, take_over


class ElasticWindowAttention(Heads):
    """The shifted-window attention of Swin and Swin 2, with free inner sizes.

    Attributes:
        window: rows and columns of a window.
        shift: rows and columns by which windows are shifted.
    """

    packed: ClassVar[str] = "qkv.weight"
    qkv: nn.Linear
    proj: nn.Linear
    relative_position_index: Tensor

    def __init__(self, attention: Any) -> None:
        """Take over the tensors and settings of an attention (which should not be used after)."""
        super().__init__()
        take_over(self, attention)
        width = self.qkv.out_features // 3 // attention.num_heads
        self.set_heads(attention.num_heads, width, width**-0.5)
        self.window = tuple(attention.window_size)
        self.shift = tuple(attention.shift_size)
        self.attention_dropout, self.dropout = attention.attention_dropout, attention.dropout

    def forward(self, x: Tensor) -> Tensor:
        """Attend within windows of ``[batch, height, width, channels]``; the shape stays."""
        height, width = x.shape[1:3]
        down, right = (-height % self.window[0], -width % self.window[1])
        x = F.pad(x, (0, 0, 0, right, 0, down))
        shift = [
            0 if window >= size else step
            for window, size, step in zip(self.window, x.shape[1:3], self.shift, strict=True)
        ]
        x = x.roll((-shift[0], -shift[1]), (1, 2)) if any(shift) else x
        shape = x.shape
        x = self._merge(self._attend(self._partition(x), shape, shift), shape)
        x = x.roll((shift[0], shift[1]), (1, 2)) if any(shift) else x
        return x[:, :height, :width].contiguous()

    def _partition(self, x: Tensor) -> Tensor:
        """Cut ``[batch, height, width, c]`` into ``[batch, windows, places, c]``."""
        rows, columns = self.window
        batch, height, width, channels = x.shape
        x = x.view(batch, height // rows, rows, width // columns, columns, channels)
        return x.transpose(2, 3).reshape(batch, -1, rows * columns, channels)

    def _merge(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        rows, columns = self.window
        batch, height, width = shape[:3]
        x = x.view(batch, height // rows, width // columns, rows, columns, -1)
        return x.transpose(2, 3).reshape(batch, height, width, -1)

    def _attend(self, x: Tensor, shape: Sequence[int], shift: Sequence[int]) -> Tensor:
        q, k, v = self.split_heads(F.linear(x, self.qkv.weight, self._bias()))
        logit_scale = self._parameters.get("logit_scale")
        if logit_scale is None:
            scores = (q * self.scale) @ k.transpose(-2, -1)
        else:
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            scores = scores * logit_scale.clamp(max=math.log(100.0)).exp()
        scores = scores + self._relative_bias()
        if any(shift):
            scores = scores + self._mask(shape, shift, x)[:, None]
        rate = self.attention_dropout if self.training else 0.0
        out = (F.dropout(scores.softmax(-1), rate) @ v).transpose(-3, -2).flatten(-2)
        return F.dropout(self.proj(out), self.dropout, self.training)

    def _bias(self) -> Tensor | None:
        """Swin 2 has no bias for keys, though its tensor has room for it."""
        bias = self.qkv.bias
        if bias is None or "logit_scale" not in self._parameters:
            return bias
        q, k, v = bias.split(list(self.widths))  # type: ignore[no-untyped-call]
        return torch.cat([q, torch.zeros_like(k), v])

    def _relative_bias(self) -> Tensor:
        """Return what depends on relative positions only, ``[heads, places, places]``."""
        table = self._parameters.get("relative_position_bias_table")
        if table is None:
            table = self.get_submodule("cpb_mlp")(self.get_buffer("relative_coords_table"))
            table = table.flatten(0, -2)
        places = self.window[0] * self.window[1]
        bias = table[self.relative_position_index].view(places, places, -1).permute(2, 0, 1)
        return bias if "relative_position_bias_table" in self._parameters else 16 * bias.sigmoid()

    def _mask(self, shape: Sequence[int], shift: Sequence[int], like: Tensor) -> Tensor:
        """Return -100 for pairs that only the shift made neighbours, ``[windows, n, n]``."""
        lines = [
            (torch.arange(size, device=like.device) >= size - window).to(like.dtype)
            + (torch.arange(size, device=like.device) >= size - step).to(like.dtype)
            for size, window, step in zip(shape[1:3], self.window, shift, strict=True)
        ]
        regions = (3 * lines[0][:, None] + lines[1][None, :])[None, :, :, None]
        flat = self._partition(regions)[0, :, :, 0]
        return torch.where(flat[:, None, :] == flat[:, :, None], 0.0, -100.0).to(like.dtype)


class ElasticRelativeAttention(Heads):
    """The attention with relative positions of MaxViT, with free inner sizes."""

    packed: ClassVar[str] = "to_qkv.weight"
    to_qkv: nn.Linear
    merge: nn.Linear
    relative_position_bias_table: Tensor
    relative_position_index: Tensor

    def __init__(self, attention: Any) -> None:
        """Take over the tensors and settings of an attention (which should not be used after)."""
        super().__init__()
        take_over(self, attention)
        self.set_heads(attention.n_heads, attention.head_dim, attention.scale_factor)
        self.max_seq_len = attention.max_seq_len

    def forward(self, x: Tensor) -> Tensor:
        """Attend within groups of ``[batch, groups, places, channels]``; the shape stays."""
        q, k, v = self.split_heads(self.to_qkv(x))
        places = self.max_seq_len
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(places, places, -1).permute(2, 0, 1)
        scores = q @ (k * self.scale).transpose(-2, -1) + bias
        out: Tensor = self.merge((scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2))
        return out
