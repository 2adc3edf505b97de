"""The number format that networks compute in while they train."""

from contextlib import ExitStack

import torch
from fastai.callback.core import Callback
from fastai.torch_core import to_float


def trains_in_bfloat16(device: torch.device) -> bool:
    """Return whether training computes in bfloat16: on GPUs that do so in hardware.

    Elsewhere it computes in float32, also where a GPU knows float16: that needs gradients scaled
    up, and steps left out when they overflow.
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


class Bfloat16(Callback):
    """Compute each batch in bfloat16, where PyTorch's autocast finds that accurate enough.

    Weights, outputs and gradients are float32, and no gradient is scaled: bfloat16 has the range
    of float32. ``close`` leaves autocast also where a batch failed or was cancelled halfway.

    Args:
        device: where the network is.
    """

    order = 65  # after masks are updated, in full precision, and after a teacher had its say

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.entered = ExitStack()

    def before_batch(self) -> None:
        """Enter autocast."""
        self.entered.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))

    def after_pred(self) -> None:
        """Give the loss float32."""
        self.learn.pred = to_float(self.learn.pred)

    def after_loss(self) -> None:
        """Leave autocast: the backward pass follows the forward pass by itself."""
        self.entered.close()

    close = after_fit = after_loss
