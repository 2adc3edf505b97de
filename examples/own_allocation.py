"""An allocation of your own: wide groups of channels lose more than narrow ones."""

from collections.abc import Mapping
from typing import Any

from small import QUICK, TRAINING, digits, trained

import autocompress as ac


@ac.ALLOCATIONS.register
def by_width(params: Mapping[str, Any], analysis: ac.Analysis) -> dict[str, float]:
    """Return a sparsity for each group, in proportion to the square root of its width.

    Args:
        params: the values of the search parameters; ``sparsity`` is that of the widest group.
        analysis: of the baseline: its groups of coupled channels, with names and sizes.
    """
    groups = [group for group in analysis.units.groups if not group.reasons]
    widest = max(group.size for group in groups)
    return {g.name: params["sparsity"] * (g.size / widest) ** 0.5 for g in groups}


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search over the sparsity of the widest group alone."""
    return ac.search(
        trained(),
        digits(),
        space={
            "allocation": "by_width",
            "sparsity": {"low": 0.0, "high": 0.8, "step": 0.1},
            "distillation": ["none", "soft_target"],
        },
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_allocation",
        directory=directory,
    )


if __name__ == "__main__":
    for trial in main().front():
        print(trial.in_short)
