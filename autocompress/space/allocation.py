"""How a sparsity is spread over the groups of a network: one number, or one for each group."""

from collections.abc import Callable, Mapping
from typing import Any

from autocompress.errors import AutocompressError, ConfigurationError
from autocompress.registry import by_name
from autocompress.settings import Described, Rule
from autocompress.user_code import find_function

Allocate = Callable[[Mapping[str, Any], Any], Mapping[str, float]]
"""From the search parameters and the baseline's analysis to a sparsity in [0, 1] for each group.

The parameters are complete, by the names that the study gives them; ``coefficients.NAME`` are
numbers that a study searches for the allocation alone. The groups are those of
``analysis.units.groups``, by name, of convolutions and of linear layers; one that is left out is
not sparsified. Where no group of linear layers is named, ``linear_sparsity`` stays theirs.
"""
UNIFORM = "uniform"
_FIELDS = {"sparsity": "convolution", "linear_sparsity": "linear"}  # kind of their groups
_SPARSITY = Described("sparsity", float, None, Rule(low=0, high=1))


def uniform(params: Mapping[str, Any], analysis: Any) -> dict[str, float]:
    """Give every group the same sparsity."""
    sparsity = params.get("sparsification.sparsity", params.get("sparsity", 0.0))
    return {group.name: sparsity for group in analysis.units.groups}


ALLOCATIONS = by_name("allocation", uniform)


def allocate(
    name: str, params: Mapping[str, Any], analysis: Any
) -> dict[str, Mapping[str, float] | float]:
    """Return ``sparsity`` and ``linear_sparsity`` of a recipe by group, or 0 where all are.

    What the allocation names no group of is left out: it keeps the sparsity of its own parameter.

    Args:
        name: of ``ALLOCATIONS``, or ``"package.module:function"``.
        params: of the search, complete.
        analysis: of the baseline.

    Raises:
        ConfigurationError: there is no such allocation, it fails, or what it returns is no
            sparsity of a group.
    """
    function: Allocate = find_function(name, "allocation") if ":" in name else ALLOCATIONS[name]
    try:
        found = dict(function(params, analysis))
    except AutocompressError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"allocation {name!r} failed: {type(error).__name__}: {error}"
        ) from error
    groups = {group.name: group.kind for group in analysis.units.groups}
    problems = [
        f"allocation {name!r}: there is no group {group!r}; groups are: {', '.join(groups)}"
        for group in found
        if group not in groups
    ]
    problems += [
        f"allocation {name!r}: {group}: {misfit}"
        for group, sparsity in found.items()
        if (misfit := _SPARSITY.misfit(sparsity))
    ]
    if problems:
        raise ConfigurationError(problems)
    by_kind = {
        field: {group: sparsity for group, sparsity in found.items() if groups[group] == kind}
        for field, kind in _FIELDS.items()
    }
    named = {field: shares for field, shares in by_kind.items() if shares}
    return {field: shares if any(shares.values()) else 0.0 for field, shares in named.items()}
