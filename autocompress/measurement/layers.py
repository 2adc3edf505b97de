"""What became of each layer of a model."""

from typing import Any

from torch import Tensor, nn


def compare_layers(before: nn.Module, after: nn.Module) -> list[dict[str, Any]]:
    """Describe each layer that has a weight, before and after compression.

    Args:
        before: the original model.
        after: the compressed one, whose layers have kept their names; a layer that was
            factorized is a sequence of two layers, one that was folded has no weight.

    Returns:
        in the order of definition, one dictionary of plain data per layer of ``before``:
        ``name``; ``type`` (class); ``shape_before`` and ``shape_after`` of the weight, the latter
        that of the product where the layer was factorized and None where it is gone;
        ``parameters_before`` and ``parameters_after``; ``rank`` of a factorized layer, else None;
        ``sparsity`` of the weights that are left, the fraction of exact zeros, in [0, 1].
    """
    later = dict(after.named_modules())
    return [
        _describe(name, layer, later.get(name))
        for name, layer in before.named_modules()
        if _own_weight(layer) is not None
    ]


def _own_weight(layer: nn.Module) -> Tensor | None:
    weight = layer._parameters.get("weight")
    return weight if isinstance(weight, Tensor) else None


def _describe(name: str, before: nn.Module, after: nn.Module | None) -> dict[str, Any]:
    weight = _own_weight(before)
    assert weight is not None
    weights = (
        [] if after is None else [w for m in after.modules() if (w := _own_weight(m)) is not None]
    )
    factorized = len(weights) == 2
    zeros = sum(w.numel() - int(w.count_nonzero()) for w in weights)
    left = sum(w.numel() for w in weights)
    return {
        "name": name,
        "type": type(before).__name__,
        "shape_before": list(weight.shape),
        "shape_after": _shape(weights),
        "parameters_before": sum(p.numel() for p in before.parameters()),
        "parameters_after": 0 if after is None else sum(p.numel() for p in after.parameters()),
        "rank": weights[0].shape[0] if factorized else None,
        "sparsity": zeros / left if left else 0.0,
    }


def _shape(weights: list[Tensor]) -> list[int] | None:
    """Return the shape of a weight, or of the product of the two that replaced it."""
    if not weights:
        return None
    first, last = weights[0], weights[-1]
    kernel = [max(sizes) for sizes in zip(first.shape[2:], last.shape[2:], strict=True)]
    return [last.shape[0], *first.shape[1:2], *kernel]
