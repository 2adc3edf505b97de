"""What became of each layer: shapes before and after, rank, share of zeros."""

from typing import Any

from torch import Tensor, nn

_WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def compare_layers(before: nn.Module, after: nn.Module) -> list[dict[str, Any]]:
    """Compare the convolutions and linear layers of two versions of a network.

    Args:
        before: the baseline.
        after: a compressed version of it; a factorized layer is a container of thin ones under
            the old name.

    Returns:
        for each layer of the baseline, in its order: ``name``, ``type``, ``before`` and ``after``
        (shapes of the weights; several where it was factorized), ``rank`` (``None`` where it was
        not factorized), ``parameters_before``, ``parameters_after`` and ``sparsity`` (fraction
        of zeros in the weights that are left, in [0, 1]).
    """
    modules = dict(after.named_modules())
    rows = []
    for name, layer in before.named_modules():
        if not isinstance(layer, _WEIGHTED):
            continue
        left = modules.get(name)
        weights = [] if left is None else _weights(left)
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        count = sum(weight.numel() for weight in weights)
        rows.append(
            {
                "name": name,
                "type": type(layer).__name__,
                "before": list(layer.weight.shape),
                "after": [list(weight.shape) for weight in weights],
                "rank": min(weights[0].shape[:2]) if len(weights) > 1 else None,
                "parameters_before": sum(p.numel() for p in layer.parameters()),
                "parameters_after": 0 if left is None else sum(p.numel() for p in left.parameters()),
                "sparsity": zeros / count if count else 0.0,
            }
        )
    return rows


def _weights(module: nn.Module) -> list[Tensor]:
    return [m.weight.detach() for m in module.modules() if isinstance(m, _WEIGHTED)]
