import torch

from autocompress.graph.labels import Labels, compact, squeezed


def test_ties_unite_labels_transitively():
    labels = Labels()
    a, b, c = labels.new(4), labels.new(4), labels.new(2)
    labels.tie(a, b, "")
    labels.tie(b.view(2, 2), c.view(2, 1), "")
    roots = labels.units(torch.cat([a, b, c])).tolist()
    assert roots[:4] == [1, 1, 3, 3]
    assert roots[4:8] == roots[:4]
    assert roots[8:] == [1, 3]


def test_what_is_tied_to_something_fixed_is_fixed_for_that_reason():
    labels = Labels()
    a, b = labels.new(3), labels.new(3)
    labels.tie(a, torch.tensor([0, a[1].item(), 0]), "meets a constant")
    labels.tie(a, b, "added")
    assert labels.units(b).tolist() == [0, a[1].item(), 0]
    assert labels.varying(b) == {0}
    reasons = labels.reasons(labels.fixes)
    assert reasons[int(labels.roots(b)[0])] == ("meets a constant", "added")


def test_flags_follow_later_ties():
    labels = Labels()
    a, b = labels.new(2), labels.new(2)
    labels.flag(b[:1], "normalised")
    labels.tie(a, b, "")
    assert labels.reasons(labels.flags) == {1: ("normalised",)}


def test_constant_dimensions_stay_compact():
    tensor = torch.arange(3).view(1, 3, 1).expand(5, 3, 7)
    assert compact(tensor).shape == (1, 3, 1)
    again = squeezed(tensor.contiguous())
    assert torch.equal(again, tensor)
    assert compact(again).shape == (1, 3, 1)
