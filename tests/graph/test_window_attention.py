import copy

import pytest
import torch
from torch import nn
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from autocompress.graph import Plan, find_units, rebuild
from autocompress.graph.elastic import make_all_elastic
from autocompress.graph.heads import Heads
from autocompress.graph.masking import zero_chosen
from autocompress.graph.removal import Choice
from autocompress.techniques.pruning import prune


def generic(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def window(kind, shift, **options):
    return lambda: nn.Sequential(kind(16, [4, 4], [shift, shift], 4, **options))


def relative():
    return nn.Sequential(RelativePositionalMultiHeadAttention(16, 4, 9))


CASES = {
    "swin": (window(ShiftedWindowAttention, 0), (2, 8, 8, 16)),
    "swin_shifted": (window(ShiftedWindowAttention, 2), (2, 8, 12, 16)),
    "swin_padded": (window(ShiftedWindowAttention, 2), (1, 7, 10, 16)),
    "swin_one_window": (window(ShiftedWindowAttention, 2), (1, 4, 8, 16)),
    "swin_without_bias": (window(ShiftedWindowAttention, 2, qkv_bias=False), (1, 8, 8, 16)),
    "swin2": (window(ShiftedWindowAttentionV2, 2), (2, 8, 8, 16)),
    "swin2_padded": (window(ShiftedWindowAttentionV2, 2), (1, 9, 8, 16)),
    "maxvit": (relative, (2, 5, 9, 16)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_elastic_form_computes_the_same(name):
    build, shape = CASES[name]
    model = generic(build()).double()
    elastic = copy.deepcopy(model)
    make_all_elastic(elastic)
    assert isinstance(elastic[0], Heads)
    x = torch.randn(shape).double()
    torch.testing.assert_close(elastic(x), model(x), rtol=0, atol=1e-12)
    assert elastic.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("name", CASES)
def test_heads_and_widths_are_removed_exactly(name):
    build, shape = CASES[name]
    model = generic(nn.Sequential(*build(), nn.Linear(16, 3)))
    x = torch.randn(shape)
    units = find_units(model, x)
    groups = [g for g in units.removable if g.size == 4]  # heads, and the widths of heads
    assert len(groups) == 3
    choices = [Choice(g, torch.arange(g.size) == 1) for g in groups]
    zero_chosen(model, choices)
    pruned, report = prune(model, example=x, units=units)
    assert not report.refused
    assert report.removed.keys() >= {g.name for g in groups}
    expected = copy.deepcopy(model).double()(x.double())
    found = copy.deepcopy(pruned).double()(x.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert pruned[0].num_heads == 3
    fresh = nn.Sequential(*build(), nn.Linear(16, 3)).eval()
    rebuild(fresh, Plan.from_json(Plan(report.steps).to_json()))
    fresh.load_state_dict(pruned.state_dict())
    assert torch.equal(fresh(x), pruned(x))


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_units_are_the_same_on_a_gpu(name):
    build, shape = CASES[name]
    model, x = generic(nn.Sequential(*build(), nn.Linear(16, 3))), torch.randn(shape)
    there = find_units(copy.deepcopy(model).cuda(), x.cuda())
    assert there.groups == find_units(model, x).groups
