import copy

import pytest
import torch
from torch import nn

from autocompress.graph import Remove, remove
from autocompress.graph.attention import ElasticAttention
from autocompress.graph.elastic import make_all_elastic


def attention(**options):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(16, 4, **options).double().eval()
    if module.in_proj_bias is not None:
        nn.init.normal_(module.in_proj_bias)
    return module


CAUSAL = torch.ones(5, 5).triu(1).bool()
PADDING = torch.zeros(3, 5).bool()
PADDING[1, 3:] = True


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"attn_mask": CAUSAL},
        {"attn_mask": CAUSAL.double() * -1e9},
        {"key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
        {"attn_mask": torch.rand(12, 5, 5).double()},
    ],
)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}])
def test_the_elastic_form_computes_the_same(need_weights, masks, options):
    module = attention(**options)
    x = torch.randn(3, 5, 16).double()
    x = x if options.get("batch_first") else x.transpose(0, 1)
    elastic = ElasticAttention(copy.deepcopy(module))
    expected = module(x, x, x, need_weights=need_weights, **masks)
    found = elastic(x, x, x, need_weights=need_weights, **masks)
    torch.testing.assert_close(found[0], expected[0])
    if need_weights:
        torch.testing.assert_close(found[1], expected[1])
    assert list(elastic.state_dict()) == list(module.state_dict())


def test_keys_and_values_of_their_own_and_no_batch():
    module = attention()
    elastic = ElasticAttention(copy.deepcopy(module))
    q, k, v = (torch.randn(n, 16).double() for n in (5, 7, 7))
    for a, b in zip(module(q, k, v), elastic(q, k, v), strict=True):
        torch.testing.assert_close(a, b)
    separate = module(q, k, v, average_attn_weights=False)[1]
    torch.testing.assert_close(elastic(q, k, v, average_attn_weights=False)[1], separate)


def test_it_stays_trainable_with_dropout():
    elastic = ElasticAttention(attention(dropout=0.5)).train()
    x = torch.randn(5, 3, 16).double()
    elastic(x, x, x)[0].sum().backward()
    assert elastic.in_proj_weight.grad.abs().sum() > 0


def rows(parts, heads, inner):
    """Rows of in_proj_weight of whole heads, and of inner indices in every head."""
    return sorted(
        {
            part * 16 + head * 4 + index
            for part in parts
            for head in range(4)
            for index in range(4)
            if head in heads or index in inner
        }
    )


def test_it_follows_removed_heads_and_widths():
    model = nn.Sequential(attention())
    removed = sorted({*rows((0, 1, 2), (2,), ()), *rows((2,), (), (1,))})
    columns = tuple(i - 32 for i in removed if i >= 32)
    axes = {("0.in_proj_weight", 0): tuple(removed), ("0.in_proj_bias", 0): tuple(removed)}
    remove(model, Remove({**axes, ("0.out_proj.weight", 1): columns}))
    elastic = model[0]
    assert isinstance(elastic, ElasticAttention)
    assert (elastic.num_heads, elastic.key_width, elastic.value_width) == (3, 4, 3)
    assert elastic.out_proj.in_features == 9
    x = torch.randn(5, 3, 16).double()
    assert elastic(x, x, x)[0].shape == x.shape


def test_ragged_rows_are_refused():
    removed = torch.zeros(48, dtype=torch.bool)
    removed[[0, 5]] = True
    with pytest.raises(ValueError, match="whole heads or alike"):
        ElasticAttention(attention()).resize(removed)


@pytest.mark.parametrize("options", [{"kdim": 8}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_other_kinds_of_attention_stay(options):
    model = nn.Sequential(nn.MultiheadAttention(16, 4, **options))
    make_all_elastic(model)
    assert type(model[0]) is nn.MultiheadAttention
