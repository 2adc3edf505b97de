"""Multi-head attention whose number of heads and whose widths are free, for models that shrink.

``nn.MultiheadAttention`` derives every inner size from its embedding width, so it can lose neither
a head nor a part of one. The module here computes the same from the same tensors (Vaswani et al.
2017, eq. 1), but keeps its sizes as attributes of their own.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.graph.heads import Heads, take_over


class ElasticAttention(Heads):
    """``nn.MultiheadAttention`` with free inner sizes; same state dict, same call."""

    packed: ClassVar[str] = "in_proj_weight"
    in_proj_weight: Tensor
    in_proj_bias: Tensor | None
    out_proj: nn.Linear

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Take over the tensors and settings of an attention (which should not be used after)."""
        super().__init__()
        reason = why_not_elastic(attention)
        if reason is not None:
            raise ValueError(f"an attention {reason} has no elastic form")
        take_over(self, attention)
        self.set_heads(attention.num_heads, attention.head_dim, attention.head_dim**-0.5)
        self.embed_dim = attention.embed_dim
        self.batch_first = attention.batch_first
        self.dropout = attention.dropout
        self._qkv_same_embed_dim = False  # keeps nn.TransformerEncoderLayer off its fused path

    def forward(  # noqa: PLR0913 - the signature of nn.MultiheadAttention
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002
        is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see ``torch.nn.MultiheadAttention.forward`` for shapes and meaning."""
        batched = query.dim() == 3
        transposed = batched and not self.batch_first
        q, k, v = self._project(query, key, value)
        if transposed:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        q, k, v = self.by_head(q), self.by_head(k), self.by_head(v)
        mask = _merged_mask(attn_mask, key_padding_mask, q, self.num_heads)
        weights = None
        rate = self.dropout if self.training else 0.0
        if need_weights:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            out = F.dropout(weights, rate) @ v
            weights = weights.mean(-3) if average_attn_weights else weights
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, rate, scale=self.scale)
        out = out.transpose(-3, -2).flatten(-2)
        out = self.out_proj(out)
        return (out.transpose(0, 1) if transposed else out), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        widths = list(self.widths)
        if query is key and key is value:
            return list(F.linear(query, self.in_proj_weight, self.in_proj_bias).split(widths, -1))  # type: ignore[no-untyped-call]
        weights = self.in_proj_weight.split(widths)  # type: ignore[no-untyped-call]
        biases = (
            (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.split(widths)  # type: ignore[no-untyped-call]
        )
        inputs = (query, key, value)
        return [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]


def _merged_mask(
    attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, heads: int
) -> Tensor | None:
    """Merge both masks into one additive mask that broadcasts over ``[batch, heads, n, m]``."""
    mask = None if attn_mask is None else _additive(attn_mask, q.dtype)
    if mask is not None and mask.dim() == 3 and q.dim() == 4:
        mask = mask.reshape(q.shape[0], heads, *mask.shape[1:])
    if padding is None:
        return mask
    added = _additive(padding, q.dtype)
    added = added[:, None, None, :] if q.dim() == 4 else added[None, None, :]
    return added if mask is None else mask + added


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def why_not_elastic(attention: nn.MultiheadAttention) -> str | None:
    """Return why an attention has no elastic form, or None where it has one."""
    if not attention._qkv_same_embed_dim:
        return "with separate projections for keys and values"
    if attention.bias_k is not None or attention.bias_v is not None:
        return "with extra bias tokens"
    if attention.add_zero_attn:
        return "with an extra zero token"
    return None
