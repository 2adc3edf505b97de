"""The layers of a model that can be sparsified, and one layout for all their weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Kind = Literal["convolution", "linear"]


@dataclass(frozen=True)
class Layer:
    """A convolution, a linear layer, or the joint projection of an attention.

    Attributes:
        name: the module's name; an attention's projection is ``"NAME.in_proj"``.
        kind: what its granularities are called by.
        parameter: canonical name of its weight.
        weight: the weight itself.
        module: the module that reads it.
    """

    name: str
    kind: Kind
    parameter: str
    weight: nn.Parameter
    module: nn.Module

    def common(self, tensor: Tensor) -> Tensor:
        """Bring a tensor of the weight's shape into the common layout.

        Returns:
            ``[out, in / groups, depth, height, width]`` (missing axes have size 1) for any
            convolution, ``[out, in]`` for a linear layer.
        """
        if not isinstance(self.module, _ConvNd):
            return tensor
        while tensor.dim() < 5:
            tensor = tensor.unsqueeze(2)
        if not self.module.transposed:
            return tensor
        blocks = torch.unflatten(tensor, 0, (self.module.groups, -1))
        return blocks.transpose(1, 2).flatten(0, 1)

    def original(self, tensor: Tensor) -> Tensor:
        """Bring a tensor that broadcasts over the common layout back to the weight's own axes."""
        if not isinstance(self.module, _ConvNd):
            return tensor
        if self.module.transposed:
            per_group = self.module.out_channels // self.module.groups
            shape = (self.module.out_channels, self.module.in_channels // self.module.groups)
            whole = tensor.expand(*shape, *tensor.shape[2:])
            blocks = torch.unflatten(whole, 0, (self.module.groups, per_group))
            tensor = blocks.transpose(1, 2).flatten(0, 1)
        while tensor.dim() > self.weight.dim():
            tensor = tensor.squeeze(2)
        return tensor


def find_layers(model: nn.Module) -> tuple[tuple[Layer, ...], Mapping[str, str]]:
    """Find the layers whose weights can be sparsified, in the order of definition.

    Returns:
        The layers (of tied ones the first), and for those that are left, name to reason.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    layers: dict[str, Layer] = {}
    unusable: dict[str, str] = {}
    for name, module in model.named_modules():
        found = _weight_of(name, module)
        if found is None:
            continue
        layer_name, kind, weight = found
        if not isinstance(weight, nn.Parameter) or id(weight) not in names:
            unusable[layer_name] = "its weight is computed from other parameters"
        else:
            parameter = names[id(weight)]
            layers.setdefault(parameter, Layer(layer_name, kind, parameter, weight, module))
    return tuple(layers.values()), unusable


def _weight_of(name: str, module: nn.Module) -> tuple[str, Kind, object] | None:
    if isinstance(module, _ConvNd):
        return name, "convolution", module.weight
    if isinstance(module, nn.Linear):
        return name, "linear", module.weight
    joint = getattr(module, "in_proj_weight", None)
    if isinstance(joint, nn.Parameter):
        return f"{name}.in_proj".removeprefix("."), "linear", joint
    return None


def shares_tensors(model: nn.Module) -> frozenset[nn.Module]:
    """Return the modules that hold a parameter which another module holds too."""
    holders: dict[int, set[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), set()).add(module)
    return frozenset(m for modules in holders.values() if len(modules) > 1 for m in modules)
