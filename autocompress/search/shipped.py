"""Recipes worth trying first: they are enqueued before the sampler has seen anything."""

from collections.abc import Mapping
from typing import Any

from autocompress.search.space import Space

_PLAIN: Mapping[str, Any] = {
    "sparsity": 0.0,
    "granularity": "filter",
    "linear_sparsity": 0.0,
    "linear_granularity": "row",
    "scope": "local",
    "criterion": "large_final",
    "schedule": "cosine",
    "schedule_end": 0.7,
    "rewind": 1.0,
    "distillation": "none",
    "distillation_weight": 0.5,
    "temperature": 4.0,
    "rank": 1.0,
    "convolution_rank": 1.0,
    "energy": 1.0,
    "convolution_energy": 1.0,
    "convolution_kind": "channel",
    "prune": True,
    "round_to": 1,
    "fold": True,
    "precision": "fp32",
}
_DISTILLED: Mapping[str, Any] = {**_PLAIN, "distillation": "soft_target"}
_HALF: Mapping[str, Any] = {**_DISTILLED, "sparsity": 0.5, "linear_sparsity": 0.5}

SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "folded": _PLAIN,
    "quantized": {**_PLAIN, "precision": "int8"},
    "article": {**_DISTILLED, "sparsity": 0.4, "rank": 0.5},
    "half": _HALF,
    "half_quantized": {**_HALF, "precision": "int8"},
    "factorized": {**_DISTILLED, "rank": 0.25},
    "three_quarters": {**_DISTILLED, "sparsity": 0.75, "linear_sparsity": 0.75, "schedule": "agp"},
    "global_taylor": {
        **_DISTILLED,
        "sparsity": 0.5,
        "linear_sparsity": 0.75,
        "scope": "global",
        "criterion": "taylor",
        "schedule": "agp",
    },
    "thin_and_low_rank": {**_DISTILLED, "sparsity": 0.6, "linear_sparsity": 0.5, "rank": 0.25},
    "smallest": {
        **_DISTILLED,
        "sparsity": 0.85,
        "linear_sparsity": 0.9,
        "schedule": "agp",
        "distillation_weight": 0.7,
    },
}


def shipped_params(space: Space) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, values to enqueue) of every shipped recipe that the space can express.

    Numbers are moved to the nearest allowed ones; two recipes that become the same are one.
    """
    training = space.training
    wishes = {
        "learning_rate": training.learning_rate,
        "epochs": training.epochs,
        "recovery_epochs": training.recovery_epochs,
    }
    found: list[tuple[str, dict[str, Any]]] = []
    for name, recipe in SHIPPED.items():
        stages = {f"sparsity_{stage}": recipe["sparsity"] for stage in ("early", "middle", "late")}
        params = space.nearest({**wishes, **stages, **recipe})
        if params is not None and params not in [known for _, known in found]:
            found.append((name, params))
    return found
