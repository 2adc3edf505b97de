"""Integer labels that say which removable unit an element belongs to, and which labels are one.

Label 0 is fixed: it is never removed. Ties make two labels one unit (a union-find, always fully
compressed). A unit can become fixed, or inexact: removable by shape, but not without changing
what the model computes. Both come with a reason in words.
"""

from dataclasses import dataclass

import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor


def compact(tensor: Tensor) -> Tensor:
    """Narrow every dimension that is only expanded (stride 0) to size 1, without a copy."""
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def squeezed(tensor: Tensor) -> Tensor:
    """Expand a tensor from one slice wherever it is constant along a dimension: same values."""
    small = compact(tensor)
    for dim, size in enumerate(small.shape):
        if size > 1:
            first = small.narrow(dim, 0, 1)
            if bool((small == first).all()):
                small = first
    return small.expand(tensor.shape)


def _distinct(labels: Tensor) -> Tensor:
    distinct: Tensor = torch.unique(labels)
    return distinct


@dataclass(frozen=True)
class Note:
    """Why some labels are fixed or inexact."""

    labels: Tensor
    reason: str


class Labels:
    """Labels, their ties, and the reasons why some of them must stay."""

    def __init__(self) -> None:
        """Start with label 0 alone."""
        self._root = torch.zeros(1, dtype=torch.int64)
        self._fixed = torch.ones(1, dtype=torch.bool)
        self.fixes: list[Note] = []
        self.flags: list[Note] = []

    def new(self, count: int) -> Tensor:
        """Return that many labels never used before, ``[count]``."""
        start = len(self._root)
        fresh = torch.arange(start, start + count)
        self._root = torch.cat([self._root, fresh])
        self._fixed = torch.cat([self._fixed, torch.zeros(count, dtype=torch.bool)])
        return fresh

    def roots(self, labels: Tensor) -> Tensor:
        """Return one label for each unit, fixed units included; the shape stays."""
        return self._root[compact(labels)].expand(labels.shape)

    def units(self, labels: Tensor) -> Tensor:
        """Return one label for each unit and 0 for whatever is fixed; the shape stays."""
        roots = self._root[compact(labels)]
        return roots.masked_fill(self._fixed[roots], 0).expand(labels.shape)

    def varying(self, labels: Tensor) -> set[int]:
        """Return the dimensions along which removable units differ."""
        units = compact(self.units(labels))
        return {
            dim
            for dim, size in enumerate(units.shape)
            if size > 1 and bool((units != units.narrow(dim, 0, 1)).any())
        }

    def fix(self, labels: Tensor, reason: str) -> None:
        """Keep these units for good."""
        roots = _distinct(self._root[compact(labels)])
        roots = roots[~self._fixed[roots]]
        if roots.numel():
            self._fixed[roots] = True
            self.fixes.append(Note(roots, reason))

    def flag(self, labels: Tensor, reason: str) -> None:
        """Call these units inexact."""
        roots = self.units(labels)
        roots = _distinct(compact(roots))
        roots = roots[roots != 0]
        if roots.numel():
            self.flags.append(Note(roots, reason))

    def tie(self, a: Tensor, b: Tensor, reason: str) -> None:
        """Make the units of two tensors one, element by element (they broadcast).

        A unit that is tied to a fixed one becomes fixed, for the given reason.
        """
        a, b = self._root[compact(a)], self._root[compact(b)]
        pairs = torch.stack([(a + 0 * b).reshape(-1), (b + 0 * a).reshape(-1)])
        pairs = pairs[:, pairs[0] != pairs[1]]
        if not pairs.shape[1]:
            return
        constant = (pairs == 0).any(0)
        self.fix(pairs[:, constant], reason)
        self._unite(pairs[:, ~constant], reason)

    def _unite(self, pairs: Tensor, reason: str) -> None:
        if not pairs.shape[1]:
            return
        lost = self._fixed[pairs].any(0) & ~self._fixed[pairs].all(0)
        if bool(lost.any()):
            self.fix(pairs[:, lost], reason)
        nodes, edges = torch.unique(pairs, return_inverse=True)
        ones = torch.ones(edges.shape[1], dtype=torch.bool)
        links = coo_matrix((ones.numpy(), edges.numpy()), shape=(len(nodes), len(nodes)))
        count, component = connected_components(links, directed=False)
        belongs = torch.from_numpy(component).to(torch.int64)
        smallest = torch.full((count,), len(self._root)).scatter_reduce(
            0, belongs, nodes, reduce="amin"
        )
        table = torch.arange(len(self._root))
        table[nodes] = smallest[belongs]
        fixed = self._fixed.clone()
        fixed[table[nodes[self._fixed[nodes]]]] = True
        self._fixed = fixed
        self._root = table[self._root]

    def reasons(self, notes: list[Note]) -> dict[int, tuple[str, ...]]:
        """Return, by unit (its root), the distinct reasons of some notes, in order."""
        found: dict[int, dict[str, None]] = {}
        for note in notes:
            for root in _distinct(self._root[note.labels]).tolist():
                found.setdefault(root, {})[note.reason] = None
        return {root: tuple(why) for root, why in found.items()}
