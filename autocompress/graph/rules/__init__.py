"""What each ATen operator does to labels: one small function per kind of operator."""

from collections.abc import Mapping

from autocompress.graph.propagation import Rule
from autocompress.graph.rules import (
    attention,
    elementwise,
    norms,
    reductions,
    regions,
    spatial,
    views,
    weights,
)

RULES: Mapping[str, Rule] = {
    **views.RULES,
    **elementwise.RULES,
    **weights.RULES,
    **norms.RULES,
    **attention.RULES,
    **reductions.RULES,
    **spatial.RULES,
    **regions.RULES,
}
