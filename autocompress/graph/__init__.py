"""The graph of a model: what belongs together in it, and the only code that edits a model."""

from autocompress.graph.plan import Fold, LowRank, Plan, Remove, Step
from autocompress.graph.surgery import fold, rebuild, remove, replace_low_rank
from autocompress.graph.tracing import Trace, trace
from autocompress.graph.unit_groups import Member, UnitGroup, Units
from autocompress.graph.units import find_units
from autocompress.graph.verification import check_equal, largest_difference

__all__ = [
    "Fold",
    "LowRank",
    "Member",
    "Plan",
    "Remove",
    "Step",
    "Trace",
    "UnitGroup",
    "Units",
    "check_equal",
    "find_units",
    "fold",
    "largest_difference",
    "rebuild",
    "remove",
    "replace_low_rank",
    "trace",
]
