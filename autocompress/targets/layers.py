"""What became of each layer of a model."""

from torch import Tensor, nn

from autocompress.results import LayerChange


def compare_layers(before: nn.Module, after: nn.Module) -> list[LayerChange]:
    """Describe each layer that has a weight, before and after compression.

    Args:
        before: the original model.
        after: the compressed one, whose layers have kept their names; a layer that was
            factorized is a sequence of two layers, one that was folded has no weight.

    Returns:
        one for each layer of ``before``, in the order of definition.
    """
    later = dict(after.named_modules())
    return [
        _describe(name, layer, later.get(name, nn.Identity()))
        for name, layer in before.named_modules()
        if _own_weight(layer) is not None
    ]


def _own_weight(layer: nn.Module) -> Tensor | None:
    weight = layer._parameters.get("weight")
    return weight if isinstance(weight, Tensor) else None


def _weights(layer: nn.Module) -> list[Tensor]:
    return [weight for part in layer.modules() if (weight := _own_weight(part)) is not None]


def _describe(name: str, before: nn.Module, after: nn.Module) -> LayerChange:
    weights = _weights(after)
    zeros = sum(weight.numel() - int(weight.count_nonzero()) for weight in weights)
    left = sum(weight.numel() for weight in weights)
    return LayerChange(
        name=name,
        type=type(before).__name__,
        before=tuple(_weights(before)[0].shape),
        after=tuple(tuple(weight.shape) for weight in weights),
        rank=weights[0].shape[0] if len(weights) == 2 else None,
        parameters_before=sum(p.numel() for p in before.parameters()),
        parameters_after=sum(p.numel() for p in after.parameters()),
        sparsity=zeros / left if left else 0.0,
    )
