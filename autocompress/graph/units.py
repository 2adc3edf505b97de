"""Units: all slices, in all tensors, that stand or fall together, and why some must stay."""

from dataclasses import replace

import torch
from torch import nn

from autocompress.graph.grouping import grouped, settle_raw_parameters
from autocompress.graph.propagation import Propagation
from autocompress.graph.rules import RULES
from autocompress.graph.rules.weight_views import WEIGHT_VIEWS
from autocompress.graph.tracing import Inputs, Trace, trace
from autocompress.graph.trial_removal import TrialRemoval
from autocompress.graph.unit_groups import ONLY_UNIT, Kind, Member, UnitGroup, Units

__all__ = ["Kind", "Member", "UnitGroup", "Units", "find_units"]


def find_units(model: nn.Module, example_inputs: Inputs) -> Units:
    """Find all units of a model, and the reasons why some of them must stay.

    Args:
        model: the model; it is not changed.
        example_inputs: a batch as the model takes it, or a tuple of all positional arguments.

    Raises:
        UsageError: the inputs don't fit the model, or it cannot be traced.
    """
    graph = trace(model, example_inputs)
    first = _propagated(graph, grid_choice=0)
    groups = _groups(first)
    if first.had_choice:
        known = {_signature(group) for group in groups}
        other = _groups(_propagated(graph, grid_choice=1))
        groups += [g for g in other if g.removable and _signature(g) not in known]
    settled = TrialRemoval(model, example_inputs).settle(_named(groups))
    return Units(settled, _fixed(first))


def _propagated(graph: Trace, *, grid_choice: int) -> Propagation:
    propagation = Propagation(graph, RULES, WEIGHT_VIEWS, grid_choice=grid_choice)
    propagation.run()
    settle_raw_parameters(propagation)
    return propagation


def _signature(group: UnitGroup) -> tuple[object, ...]:
    return tuple((m.tensor, m.dim, m.indices.numpy().tobytes()) for m in group.members)


def _groups(p: Propagation) -> list[UnitGroup]:
    inexact = p.labels.reasons(p.labels.flags)
    found = []
    for members in grouped(p, inexact):
        slices = tuple(
            Member(tensor, dim, p.roles.get((tensor, dim), "raw"), indices)
            for (tensor, dim), indices in members.indices.items()
        )
        weights = [m.tensor for m in slices if m.role == "weight" and m.tensor in p.layers]
        kinds = {p.layers[tensor] for tensor in weights}
        name = _layer(weights[0]) if weights else slices[0].tensor
        size = slices[0].indices.shape[0]
        reasons = members.reasons or ((ONLY_UNIT,) if size == 1 else ())
        kind: Kind = "convolution" if "convolution" in kinds else "linear"
        found.append(UnitGroup(name, kind, slices, size, reasons))
    return found


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _named(groups: list[UnitGroup]) -> tuple[UnitGroup, ...]:
    """Make names unique."""
    count: dict[str, int] = {}
    named = []
    for group in groups:
        number = count[group.name] = count.get(group.name, 0) + 1
        named.append(group if number == 1 else replace(group, name=f"{group.name}:{number}"))
    return tuple(named)


def _fixed(p: Propagation) -> dict[str, str]:
    """Say, for each layer and raw parameter with something that belongs to no unit, why."""
    found = {_title(tensor): reason for tensor, reason in p.bystanders.items()}
    reasons = p.labels.reasons(p.labels.fixes)
    made = {
        tensor: p.axes[tensor, dim]
        for (tensor, dim), role in p.roles.items()
        if role == "weight" and tensor in p.layers
    }
    raw = {tensor: labels for tensor, labels in p.elements.items() if tensor not in made}
    for tensor, labels in {**made, **raw}.items():
        lost = labels[p.labels.units(labels) == 0]
        if not len(lost):
            continue
        why: dict[str, None] = {}
        for root in torch.unique(p.labels.roots(lost)).tolist():
            why.update(dict.fromkeys(reasons.get(root, ())))
        share = "" if len(lost) == labels.numel() else f"{len(lost)} of {labels.numel()} outputs: "
        found[_title(tensor)] = share + "; ".join(why)
    return found


def _title(tensor: str) -> str:
    """Return a weight's layer; other tensors go by their own name."""
    return _layer(tensor) if tensor.endswith(".weight") else tensor
