"""Outputs of any structure become named tensors and come back."""

import pytest
import torch

from autocompress.bundles.outputs import Structure, joined, named, one_or_tuple
from autocompress.errors import UsageError

A, B = torch.zeros(2, 3), torch.ones(2, 1)
STRUCTURES = {
    "outputs": A,
    "outputs.0 outputs.1": (A, B),
    "outputs.out outputs.aux.0": {"out": A, "aux": [B]},
}


@pytest.mark.parametrize("names", STRUCTURES)
def test_structures_come_back(names):
    outputs = STRUCTURES[names]
    tensors = named(outputs)
    assert " ".join(tensors) == names
    restored = Structure.of(outputs).restored({**tensors, "inputs": B})
    assert type(restored) is type(outputs)
    torch.testing.assert_close(restored, outputs)


@pytest.mark.parametrize(("outputs", "message"), [(3, "outputs: int"), ([], "not nothing")])
def test_other_outputs_are_refused(outputs, message):
    with pytest.raises(UsageError, match=message):
        named(outputs)


def test_parts_of_a_batch_are_joined():
    found = joined([named((A, B)), named((A, B))])
    assert [list(tensor.shape) for tensor in found.values()] == [[4, 3], [4, 1]]


def test_a_list_of_one_is_a_tensor():
    assert one_or_tuple([A]) is A
    assert one_or_tuple([A, B]) == (A, B)
