"""Whatever is called removable is removed exactly; whatever stays says why."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from autocompress.graph import Plan, find_units, rebuild
from autocompress.techniques.pruning import prune

from hazards import EXACT, KEPT

NETS = {**{k: v[:2] for k, v in EXACT.items()}, **{k: v[:2] for k, v in KEPT.items()}}


def generic(model):
    """Random values everywhere, batch-norm statistics included."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.2 + 0.05)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def build(name):
    torch.manual_seed(0)
    net, shapes = NETS[name]
    return generic(net()), tuple(torch.randn(shape) for shape in shapes)


def zero_some(model, groups):
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for group in groups:
            chosen = torch.randperm(group.size)[: max(1, group.size // 3)]
            for member in group.members:
                if member.role not in ("consumer", "norm_statistic"):
                    tensors[member.tensor].index_fill_(
                        member.dim, member.indices[chosen].flatten(), 0.0
                    )


def double_outputs(model, inputs):
    with torch.no_grad():
        output = copy.deepcopy(model).double().eval()(*(x.double() for x in inputs))
    return torch.cat([leaf.flatten() for leaf in tree_leaves(output)])


@pytest.mark.parametrize("name", NETS)
def test_what_is_called_removable_is_removed_exactly(name):
    model, inputs = build(name)
    units = find_units(model, inputs)
    zero_some(model, units.removable)
    before = double_outputs(model, inputs)
    pruned, report = prune(model, example=inputs, units=units)
    assert not report.refused
    torch.testing.assert_close(double_outputs(pruned, inputs), before, rtol=0, atol=1e-9)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, pruned)]
    assert sizes[1] < sizes[0] or not units.removable


@pytest.mark.parametrize("name", EXACT)
def test_layers_that_can_be_removed_are_found(name):
    model, inputs = build(name)
    removable = {group.name.partition(":")[0] for group in find_units(model, inputs).removable}
    assert removable >= EXACT[name][2]


@pytest.mark.parametrize("name", KEPT)
def test_layers_that_stay_say_why(name):
    model, inputs = build(name)
    layer, pattern = KEPT[name][2:]
    units = find_units(model, inputs)
    reasons = [*(r for g in units if g.name == layer for r in g.reasons)]
    reasons.append(units.fixed.get(layer, ""))
    assert re.search(pattern, "; ".join(reasons)), reasons


@pytest.mark.parametrize("name", EXACT)
def test_a_pruned_net_is_rebuilt_from_plan_and_weights(name):
    model, inputs = build(name)
    units = find_units(model, inputs)
    zero_some(model, units.removable)
    pruned, report = prune(model, example=inputs, units=units)
    fresh = NETS[name][0]().eval()
    rebuild(fresh, Plan.from_json(Plan(report.steps).to_json()))
    fresh.load_state_dict(pruned.state_dict())
    assert torch.equal(double_outputs(fresh, inputs), double_outputs(pruned, inputs))


def test_the_outputs_are_never_touched():
    model, inputs = build("residual")
    tensors = {(m.tensor, m.dim) for group in find_units(model, inputs) for m in group.members}
    assert ("head.2.weight", 0) not in tensors
    assert "output" in find_units(model, inputs).fixed["head.2"]


def test_heads_and_the_widths_of_heads_are_units():
    model, inputs = build("native_attention")
    groups = [g for g in find_units(model, inputs).removable if g.name.startswith("attention")]
    assert sorted(group.size for group in groups) == [4, 4, 4]  # heads, key widths, value widths
    pruned = {g.members[0].indices.shape[1] for g in groups}
    assert pruned == {4, 8, 12}


def test_attributes_follow():
    model, inputs = build("attention_with_attributes")
    units = find_units(model, inputs)
    zero_some(model, units.removable)
    attention = prune(model, example=inputs, units=units)[0].attention
    assert (attention.num_heads, attention.head_dim, attention.inner) == (3, 3, 9)
    assert attention.qkv.out_features == 27
