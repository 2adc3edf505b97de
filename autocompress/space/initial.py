"""Recipes worth trying first: they are enqueued before the sampler has seen anything."""

from collections.abc import Mapping
from typing import Any

from autocompress.space.parameters import path_of
from autocompress.space.space import Space

_DISTILLED: Mapping[str, Any] = {"distillation": "soft_target"}
_HALF: Mapping[str, Any] = {**_DISTILLED, "sparsity": 0.5, "linear_sparsity": 0.5}

DEFAULT_SPACE: Mapping[str, Any] = {
    "sparsity": {"low": 0.0, "high": 0.9, "step": 0.05},
    "linear_sparsity": {"low": 0.0, "high": 0.95, "step": 0.05},
    "scope": ["local", "global"],
    "criterion": ["large_final", "squared_final", "taylor", "movement"],
    "schedule": ["cosine", "agp", "one_cycle"],
    "distillation": ["none", "soft_target"],
    "distillation_weight": {"low": 0.1, "high": 0.9},
    "temperature": {"low": 1.0, "high": 10.0},
    "rank": {"low": 0.05, "high": 1.0, "step": 0.05},
}
"""What is searched where nobody says anything else: values by search parameter."""

INITIAL: Mapping[str, Mapping[str, Any]] = {
    "folded": {},
    "quantized": {"precision": "int8"},
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
"""Values by search parameter; all others have their default."""


def initial_params(space: Space) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, values to enqueue) of every initial recipe that the space can express.

    Numbers are moved to the nearest allowed ones; two recipes that become the same are one.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for name, recipe in INITIAL.items():
        thirds = {
            f"sparsity_{third}": recipe.get("sparsity", 0.0)
            for third in ("early", "middle", "late")
        }
        wish = {path_of(key): value for key, value in {**thirds, **recipe}.items()}
        params = space.nearest({**space.defaults(), **wish})
        if params is not None and params not in [known for _, known in found]:
            found.append((name, params))
    return found
