"""Sizes of the heads of an attention, kept apart from the width of its inputs."""

from typing import ClassVar

from torch import Tensor, nn


class Heads(nn.Module):
    """What attentions have in common whose inner sizes are free.

    The rows of one packed tensor make, in this order, queries, keys and values of all heads.

    Attributes:
        packed: name of that tensor.
        num_heads: heads that are left.
        key_width: width of a head's queries and keys.
        value_width: width of a head's values.
        scale: factor of the scores; stays what it was before anything was removed.
    """

    packed: ClassVar[str]
    num_heads: int
    key_width: int
    value_width: int
    scale: float

    def set_heads(self, num_heads: int, width: int, scale: float) -> None:
        """Set the sizes of an attention that has all its heads, in place."""
        self.num_heads, self.key_width, self.value_width = num_heads, width, width
        self.scale = scale

    @property
    def widths(self) -> tuple[int, int, int]:
        """Rows of the packed tensor that make queries, keys and values."""
        keys = self.num_heads * self.key_width
        return keys, keys, self.num_heads * self.value_width

    def split_heads(self, packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split ``[..., n, widths]`` into queries, keys and values ``[..., heads, n, width]``."""
        q, k, v = packed.split(list(self.widths), -1)  # type: ignore[no-untyped-call]
        return self.by_head(q), self.by_head(k), self.by_head(v)

    def by_head(self, x: Tensor) -> Tensor:
        """Bring ``[..., n, heads * width]`` to ``[..., heads, n, width]``."""
        width = x.shape[-1] // self.num_heads
        return x.reshape(*x.shape[:-1], self.num_heads, width).transpose(-3, -2)

    def resize(self, removed: Tensor) -> None:
        """Follow removed rows of the packed tensor; edits sizes in place, not tensors.

        Args:
            removed: bool ``[rows]`` of the tensor as it was, True where a row went.

        Raises:
            ValueError: the rows are not whole heads or the same inner indices of every head.
        """
        sizes = (self.key_width, self.key_width, self.value_width)
        starts = (0, self.widths[0], 2 * self.widths[0])
        kept = [
            ~removed[start : start + self.num_heads * width].reshape(self.num_heads, width)
            for start, width in zip(starts, sizes, strict=True)
        ]
        heads = kept[2].any(1)
        grids = [bool((part == heads[:, None] & part.any(0)[None]).all()) for part in kept]
        if not all(grids) or not bool((kept[0] == kept[1]).all()):
            raise ValueError("rows of an attention go as whole heads or alike in every head")
        self.num_heads = int(heads.sum())
        self.key_width = int(kept[0].any(0).sum())
        self.value_width = int(kept[2].any(0).sum())


def take_over(new: nn.Module, old: nn.Module) -> None:
    """Let a module hold the tensors, modules and mode of another one, under the same names."""
    for name, parameter in old._parameters.items():
        new.register_parameter(name, parameter)
    for name, buffer in old._buffers.items():
        new.register_buffer(name, buffer, persistent=name not in old._non_persistent_buffers_set)
    for name, child in old._modules.items():
        new.add_module(name, child)
    new.train(old.training)
