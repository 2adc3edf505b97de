"""The memory layout in which networks train: channels last on a GPU, if they can be trained so."""

import copy
from collections.abc import Sequence

import torch
from fastai.callback.core import Callback
from torch import Tensor, nn

from autocompress.techniques.distillation import logits_of


def fastest_layout(device: torch.device) -> torch.memory_format:
    """Return the layout in which convolutions train fastest on a device."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def common_layout(
    networks: Sequence[nn.Module], images: Tensor, wanted: torch.memory_format
) -> torch.memory_format:
    """Return the wanted layout if all networks can be trained in it, else channels first.

    Only images ``[n, channels, height, width]`` have such a layout. A network that calls
    ``view`` on its activations, for one, can't be trained with channels last.

    Args:
        networks: on the device of the images; they are not changed.
        images: some inputs, ``[n, ...]``.
        wanted: such as :func:`fastest_layout` returns.
    """
    layout = wanted if images.ndim == 4 else torch.contiguous_format
    if layout != torch.contiguous_format:
        try:
            for network in networks:
                try_training(network, images, layout)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # whatever the layout
        except RuntimeError:
            return torch.contiguous_format
    return layout


def try_training(
    network: nn.Module, images: Tensor, layout: torch.memory_format = torch.contiguous_format
) -> None:
    """Pass images forward and backward through a copy of a network; raise what it raises."""
    copied = copy.deepcopy(network).train().to(memory_format=layout)
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        total = logits_of(copied(images.contiguous(memory_format=layout))).sum()
    if total.requires_grad:  # not in a frozen teacher
        total.backward()  # type: ignore[no-untyped-call]


class LayOut(Callback):
    """Give a network its images in a memory layout."""

    order = 11  # after fastai's CastToTensor

    def __init__(self, layout: torch.memory_format) -> None:
        super().__init__()
        self.layout = layout

    def before_batch(self) -> None:
        """Lay out the batch that begins."""
        self.learn.xb = tuple(x.contiguous(memory_format=self.layout) for x in self.learn.xb)
