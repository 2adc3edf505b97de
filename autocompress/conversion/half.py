"""Half precision: a model whose weights and activations are float16, on the GPU."""

import copy

from torch import Tensor, nn


class Half(nn.Module):
    """Runs a copy of a model in float16; images and outputs stay float32.

    Args:
        model: it is not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half().eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs [n, classes] in float32 of images in float32."""
        outputs: Tensor = self.model(images.half())
        return outputs.float()
