import pytest
import torch

from autocompress.techniques.ranking import lowest, rank_globally, rank_layers, rank_locally

INF = float("inf")


@pytest.mark.parametrize("count", [0, 1, 30, 59, 60])
def test_lowest_marks_what_a_full_sort_would(count):
    scores = torch.randn(6, 10, generator=torch.manual_seed(0))
    expected = torch.zeros(60, dtype=torch.bool)
    expected[scores.flatten().argsort()[:count]] = True
    assert torch.equal(lowest(scores, count), expected.view(6, 10))


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.5, 0.9999])
@pytest.mark.parametrize("kind", ["normal", "tied", "half gone", "all equal", "sorted"])
def test_a_long_ranking_marks_what_a_full_sort_would(kind, share):
    scores = torch.randn(1_100_000, generator=torch.manual_seed(0))
    if kind == "tied":
        scores = (scores * 3).round()
    elif kind == "half gone":
        scores[::2] = -INF
    elif kind == "all equal":
        scores = torch.zeros_like(scores)
    elif kind == "sorted":
        scores = scores.sort().values
    count = round(share * scores.numel())
    expected = torch.zeros_like(scores, dtype=torch.bool)
    expected[scores.sort(stable=True).indices[:count]] = True
    assert torch.equal(lowest(scores, count), expected)


def test_ties_go_in_the_order_of_their_position():
    marked = lowest(torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0]), 3)
    assert marked.tolist() == [False, True, True, False, True]


def test_infinities_go_first_and_never():
    scores = torch.tensor([-INF, 3.0, INF, 1.0, INF])
    assert rank_locally(scores, 0.4).tolist() == [True, False, False, True, False]
    assert rank_locally(scores, 1.0).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_one_group_is_always_left(fraction):
    marked = rank_locally(torch.rand(7), fraction)
    assert int(marked.sum()) == min(round(7 * fraction), 6)


def test_the_global_ranking_ignores_the_scale_of_a_layer():
    scores = [torch.rand(40, generator=torch.manual_seed(n)) for n in range(3)]
    scaled = [s * scale for s, scale in zip(scores, (1, 100, 1e-3), strict=True)]
    pairs = zip(rank_globally(scores, 0.3), rank_globally(scaled, 0.3), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_global_ranking_reaches_the_fraction_and_leaves_one_group_in_each_layer():
    scores = [torch.full((10,), 1e-9), torch.rand(90) + 1]
    marked = rank_globally(scores, 0.5)
    assert sum(int(m.sum()) for m in marked) == 50
    everything = rank_globally([torch.rand(4), torch.rand(3, 2)], 1.0)
    assert [int((~m).sum()) for m in everything] == [1, 1]
    assert everything[1].shape == (3, 2)


def test_whole_layers_are_ranked_among_each_other():
    scores = [torch.tensor([[s]]) for s in (3.0, 1.0, 2.0)]
    assert [bool(m) for m in rank_layers(scores, 0.34)] == [False, True, False]
    assert sum(bool(m) for m in rank_layers(scores, 1.0)) == 2
