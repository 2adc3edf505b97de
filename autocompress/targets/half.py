"""Half precision: a model whose weights and activations are float16, on the GPU."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


class Half(nn.Module):
    """Runs a copy of a model in float16; inputs and outputs stay float32.

    Args:
        model: it is not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half().eval()

    def forward(self, inputs: Tensor) -> Any:
        """Return the model's outputs, with each tensor of floats in float32.

        Args:
            inputs: in float32, or whole numbers, which stay as they are.
        """
        given = inputs.half() if inputs.is_floating_point() else inputs
        return tree_map_only(Tensor, _in_float32, self.model(given))


def _in_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
