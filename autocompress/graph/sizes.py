"""Sizes that standard modules repeat as attributes: they follow the tensors."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd


def follow_sizes(module: nn.Module) -> None:
    """Set a module's size attributes after one of its tensors was cut (in place).

    A module that repeats no size, or is not a standard one, stays as it is.
    """
    match module:
        case _ConvNd():
            _follow_convolution(module)
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case _NormBase():
            tensor = module.weight if module.weight is not None else module.running_mean
            if tensor is not None:
                module.num_features = tensor.shape[0]
        case nn.LayerNorm() | nn.RMSNorm():
            module.normalized_shape = tuple(module.weight.shape)
        case nn.GroupNorm():
            if module.num_groups == module.num_channels:
                module.num_groups = module.weight.shape[0]
            module.num_channels = module.weight.shape[0]
        case nn.PReLU():
            module.num_parameters = module.weight.shape[0]
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape


def _follow_convolution(module: _ConvNd) -> None:
    """Groups shrink with the channels of a depthwise convolution, and stay in a grouped one."""
    first, second = module.weight.shape[:2]
    if module.groups > 1 and module.groups == module.in_channels:
        per_group = module.out_channels // module.groups
        left = first if module.transposed else first // per_group
        module.groups = module.in_channels = left
        module.out_channels = left * per_group
    elif module.transposed:
        module.in_channels, module.out_channels = first, second * module.groups
    else:
        module.out_channels, module.in_channels = first, second * module.groups
